"""The published tables: shares and rounds by hand, and what the worlds come to, beside the published figures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import gavel_trace, public_data, published, published_gavel, published_openb, shockwave_world
from benchmarks import published_shockwave as table
from benchmarks.gavel_mechanism import Asked, Rounds
from benchmarks.published_report import Shown, over, print_table
from benchmarks.published_shares import centre, corner, min_makespan
from policies.interface import Floats, JobView, Resources, frozen
from policies.joint.min_makespan import MinMakespan
from scheduler.results.outcome import JobOutcome
from scheduler.simulation.fleet import Fleet, Machine
from scheduler.simulation.simulator import simulate
from scheduler.simulation.traces.gavel import BUNDLE, gang_rate
from scheduler.simulation.workload import SimulatedJob, Workload
from scheduler.simulation.world import Costs, World


@pytest.fixture
def data(data_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("shockwave", "gavel", "openb"):
        if not (data_folder / name).is_dir():
            pytest.skip(f"public data are absent: {data_folder / name} (set APPORTION_DATA)")
    monkeypatch.setattr(public_data, "DATA", data_folder)
    return data_folder


def asked(size: list[float], left: list[float], capacity: float) -> Asked:
    num = len(size)
    ones = np.ones(num)
    return Asked(tuple(map(str, range(num))), np.array(size), capacity, np.array(left), ones, 0 * ones, ones, {})


@given(
    jobs=st.lists(st.tuples(st.floats(0, 1), st.sampled_from((1.0, 2.0, 4.0)), st.floats(0, 5)), min_size=1),
    part=st.floats(0.01, 2),
)
def test_picked_shares_are_at_least_what_is_needed_and_fit(jobs: list[tuple[float, float, float]], part: float) -> None:
    need, size, gain = (np.array(column) for column in zip(*jobs, strict=True))
    capacity = float(size @ need + part)
    for pick in (centre, corner):
        shares = pick(need, size, capacity, gain * 1e4)
        assert (shares >= need - 1e-9).all() and (shares <= 1 + 1e-9).all()
        assert size @ shares <= capacity * (1 + 1e-9)


def test_the_centre_is_in_the_midst_and_a_corner_is_not() -> None:
    none, two = np.zeros(2), np.ones(2)
    assert centre(none, two, 100.0) == pytest.approx([0.5, 0.5], abs=0.01)  # nothing but 0 and 1 holds them
    first, second = centre(none, two, 1.0)
    assert first == second == pytest.approx((5 - 5**0.5) / 10)  # where 1/x = 1/(1 - x) + 1/(1 - 2 x)
    assert corner(none, two, 1.0).tolist() == [1.0, 0.0]
    most = centre(none, two, 1.0, np.array([1e7, 2e7]))
    assert most == pytest.approx([0, 1], abs=1e-3)


def test_shares_for_the_soonest_makespan_are_near_it() -> None:
    found, _ = min_makespan(asked([1, 1, 2], [1000.0, 3000.0, 2000.0], 2.0), corner)
    least = np.array([1000, 3000, 2000]) / 4000  # 8,000 GPU-seconds on 2 GPUs
    assert (found >= least / 1.06).all() and np.array([1, 1, 2]) @ found == pytest.approx(2)


def small(jobs: list[tuple[float, float]], gpus: int = 1, restart_s: float = 0.0) -> World:
    """Return a world of jobs, each with its arrival and its work of one a second, on single GPUs; rounds of 100 s."""
    rates = {"": frozen([1.0])}
    views = [JobView(f"j{n}", at_s, BUNDLE, 1, 1, work=work, rates=rates) for n, (at_s, work) in enumerate(jobs)]
    fleet = Fleet(tuple(Machine(f"m{n}", Resources(gpu=1.0)) for n in range(gpus)))
    costs = Costs(start_s=restart_s)
    return World(fleet, Workload(tuple(SimulatedJob(view) for view in views)), costs=costs, every_s=100.0)


def ends(world: World, shares: list[float], hold_s: float = 0.0, restart_s: float = 0.0) -> list[float]:
    """Simulate with these shares, whoever is there; return when the jobs ended."""

    def told(view: Asked) -> tuple[Floats, dict[str, float]]:
        return np.array([shares[int(name[1:])] for name in view.ids]), {}

    run = simulate(world, Rounds("told", told, {}, 100.0, restart_s, hold_s))
    return [job.ended_s for job in run.jobs]


def test_jobs_take_turns_in_the_ratio_of_their_shares() -> None:
    assert ends(small([(0, 300), (0, 300)]), [0.75, 0.25]) == [400, 600]  # three rounds of four are the first job's
    assert ends(small([(0, 300), (0, 300)]), [0.25, 0.75]) == [600, 400]


def test_who_comes_after_the_shares_were_solved_for_waits_until_they_are_again() -> None:
    jobs = [(50.0, 3000.0), (150.0, 100.0)]
    assert ends(small(jobs, gpus=2), [1.0, 1.0])[1] == 300
    assert ends(small(jobs, gpus=2), [1.0, 1.0], hold_s=1000.0)[1] == 1200  # solved at 100 and 1,100


def test_a_break_costs_a_restart_and_going_on_does_not() -> None:
    assert ends(small([(0, 250)], restart_s=20.0), [1.0], restart_s=20.0) == [270]
    both = ends(small([(0, 160), (0, 160)], restart_s=20.0), [0.5, 0.5], restart_s=20.0)
    assert both == [300, 400]  # 80 s of each round are left


def test_a_batch_grows_a_round_after_its_epoch_was_begun(data: Path) -> None:
    grows = [one for one in shockwave_world.lines() if (one.model, one.mode) == ("LM", "accordion") and one.batch < 80]
    line = max(grows, key=lambda one: one.duration_s)
    first, second = shockwave_world.phases_in_rounds(line)
    a_round = 120 * first.rate(line.gpus, "v100")
    assert first.work / a_round == pytest.approx(round(first.work / a_round), rel=0.01)
    assert 9 + a_round < first.work <= 9 + 2 * a_round, "seen once the tenth epoch has begun, done a round later"
    epochs = line.steps / np.ceil(shockwave_world.SAMPLES[line.model] / line.batch)
    assert epochs - 1 <= first.work + second.work <= np.ceil(epochs), "the epoch in which it grows counts as done"
    static = next(one for one in shockwave_world.lines() if one.mode == "static")
    (only,) = shockwave_world.phases_in_rounds(static)
    assert only.work == pytest.approx(static.steps / np.ceil(shockwave_world.SAMPLES[static.model] / static.batch))


def test_fairness_is_over_whole_epochs_and_all_jobs_of_the_trace(data: Path) -> None:
    run = simulate(shockwave_world.world(shockwave_world.Setting()), table.policy_of("srtf", table.Variant(ours=True)))
    rho = shockwave_world.fairness(run)
    job: JobOutcome = run.jobs[7]
    assert rho[7] == pytest.approx(job.jct_s / shockwave_world.whole_epochs_s()[job.id] / (120 / 32))
    alone_s = [one.alone_s for one in run.jobs]
    assert sum(alone_s) == pytest.approx(sum(shockwave_world.whole_epochs_s().values()), rel=0.05)


@pytest.mark.parametrize("policy", table.SHARES)
def test_published_policies_come_out_as_published(data: Path, policy: str) -> None:
    known, found = table.published()[policy], table.measured(policy, table.Variant())
    assert found.makespan_s == pytest.approx(known.makespan_s, rel=0.05)
    assert found.mean_jct_s == pytest.approx(known.mean_jct_s, rel=0.05)
    assert found.worst_rho == pytest.approx(known.worst_rho, rel=0.15)
    assert found.unfair_percent == pytest.approx(known.unfair_percent, abs=6)


def test_a_policy_of_ours_is_fairer_than_all_that_are_published_and_done_sooner(data: Path) -> None:
    mine = table.measured("fair-longest", table.Variant(ours=True))
    known = table.published().values()
    assert mine.makespan_s < min(row.makespan_s for row in known)
    assert mine.worst_rho < min(row.worst_rho for row in known)


def test_the_front_has_who_is_not_beaten() -> None:
    rows = [
        (name, table.Figures(makespan, 0.0, rho, 0.0))
        for name, makespan, rho in (("a", 1.0, 3.0), ("b", 2.0, 2.0), ("c", 2.0, 2.5), ("d", 3.0, 2.0), ("e", 4.0, 1.0))
    ]
    assert [name for name, _ in table.front(rows, "makespan_s", "worst_rho")] == ["a", "b", "e"]
    assert table.front([rows[1], rows[1]], "makespan_s", "worst_rho") == [rows[1], rows[1]]


def test_gavels_batch_in_the_simulator_is_as_in_the_replay(data: Path) -> None:
    batch = [job for job, _ in zip(gavel_trace.jobs(0), range(100), strict=False)]
    replayed = gavel_trace.Replay(MinMakespan()).run(batch)
    assert published_gavel.makespan_h("min-makespan", 100, 0) * 3600 == pytest.approx(max(replayed.ended_s.values()))


def test_first_in_the_queue_runs_where_it_is_fastest_and_nobody_overtakes() -> None:
    rates = {"v100": gang_rate(2.0, 2), "k80": gang_rate(1.0, 2)}
    gang = JobView("a", 0.0, BUNDLE, 2, 2, work=4000.0, rates=rates)
    single = {kind: gang_rate(rate[-1] / 2, 1) for kind, rate in rates.items()}
    others = [JobView(name, 0.0, BUNDLE, 1, 1, work=1000.0, rates=single) for name in ("c", "d")]
    nowhere_else = {**rates, "k80": gang_rate(0.0, 2)}
    jobs = [gang, JobView("b", 0.0, BUNDLE, 2, 2, work=100.0, rates=nowhere_else), *others]
    machines = tuple(Machine(f"{kind}-{n}", BUNDLE, kind=kind) for kind in ("v100", "k80") for n in range(2))
    workload = Workload(tuple(SimulatedJob(job) for job in jobs))
    run = simulate(World(Fleet(machines), workload, every_s=100.0), published_gavel.FastestFirst())
    started = {job.id: job.started_s for job in run.jobs}
    assert started == {"a": 0, "b": 2000, "c": 2000, "d": 2000}  # the K80s stand idle while b waits for V100s


def test_openb_in_the_simulator_is_as_in_the_replay(data: Path) -> None:
    assert published_openb.simulated("best-fit", 0) == pytest.approx(published_openb.replayed("best-fit", 0))


def test_tables_are_named_and_counted(capsys: pytest.CaptureFixture[str]) -> None:
    assert published.parsed([]).only == "shockwave,gavel,openb"
    for words in (["--only", "shockwaves"], ["--seeds", "0"]):
        with pytest.raises(SystemExit):
            published.parsed(words)
    assert "there are shockwave, gavel, openb" in capsys.readouterr().err
    assert (over(110.0, 100.0), over(99.0, 100.0)) == ("+10.0 %", "-1.0 %")
    print_table(published.console(), Shown("A title", ["policy", "figure"], [["fair-longest", "1.33"]]))
    shown = capsys.readouterr().out
    assert "A title" in shown and "fair-longest" in shown and "1.33" in shown
