"""Traces of others: what their lines mean, and what is wrong with lines that mean nothing."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from policies.interface import Resources
from policies.presets import resolve
from scheduler.errors import UserError
from scheduler.simulation.faults import FaultKind
from scheduler.simulation.simulator import simulate
from scheduler.simulation.traces import alibaba, gavel, openb, philly, shockwave
from scheduler.simulation.traces.load import load_trace
from scheduler.simulation.traces.trace_file import write_trace
from scheduler.simulation.world import World

PODS = """\
name,cpu_milli,memory_mib,num_gpu,gpu_milli,gpu_spec,qos,creation_time,deletion_time,scheduled_time
p0,500,1,0,0,,LS,5,25,15
p1,2000,2,1,250,T4|V100,LS,0,10,0
p2,1000,1,2,1000,,BE,3,9,
"""
NODES = "sn,cpu_milli,memory_mib,gpu,model\nn0,64000,1024,2,T4\nn1,1000,8,0,\n"
JOBS = "job_id,submitted_s,gpus,duration_s,cpu,memory_gib,tenant,status\nb,9,4,100,8,16,vc1,Failed\na,3.5,0,7,,,,Pass\n"
TIMES = ",worker,gpu,time,batch_time_norm\n0,0,25,1,100\n1,1,25,1,300\n2,0,25,11,200\n3,1,25,11,200\n4,0,25,21,9\n"
RATES = {
    "v100": {
        "('LM (batch size 40)', 1)": {"null": 20.0},
        "('LM (batch size 80)', 1)": {"null": 10.0},
        "('LM (batch size 40)', 2)": {"null": 30.0},
        "LM (batch size 5)": {"null": 1.0},
    }
}


def written(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def line(model: str = "LM (batch size 40)", steps: object = 14920, gpus: object = 1, mode: str = "static") -> str:
    """Return a line of Shockwave's; an epoch of LM has 59,675 samples."""
    return f"{model}\tpython3 main.py\tdir\t--steps\t1\t{steps}\t{gpus}\t{mode}\t1\t-1.000000\t746\t12.5\n"


def shockwave_of(folder: Path, text: str) -> Any:
    written(folder, shockwave.THROUGHPUTS, json.dumps(RATES))
    return shockwave.read_workload(written(folder, "s.trace", text))


def refusal(read: Callable[[], object], folder: Path) -> list[str]:
    with pytest.raises(UserError) as caught:
        read()
    return str(caught.value).replace(f"{folder}/", "").splitlines()


def test_openb_pods_and_nodes(tmp_path: Path) -> None:
    pods = openb.read_pods(written(tmp_path, "pods.csv", PODS))
    assert [pod.bundle for pod in pods] == [
        Resources(0.5, 0.0, 2.0**20),
        Resources(2.0, 0.25, 2.0**21),
        Resources(1.0, 2.0, 2.0**20),
    ]
    assert [dict(pod.selector) for pod in pods] == [{}, {openb.LABEL: ("T4", "V100")}, {}]
    fleet = openb.read_fleet(written(tmp_path, "nodes.csv", NODES))
    assert [(one.id, one.kind, one.capacity) for one in fleet.machines] == [
        ("n0", "T4", Resources(64, 2, 2.0**30)),
        ("n1", "", Resources(1, 0, 2.0**23)),
    ]


def test_openb_pods_that_ran_come_when_they_did_and_take_as_long(tmp_path: Path) -> None:
    jobs = openb.read_workload(written(tmp_path, "pods.csv", PODS)).jobs
    assert [(job.view.id, job.view.submitted_s, job.view.work) for job in jobs] == [("p1", 0, 10), ("p0", 5, 10)]
    pods = [job.view for job in jobs]
    assert [job.view.submitted_s for job in openb.one_by_one(pods, 2.0).jobs] == [0, 2]


def test_openb_mistakes(tmp_path: Path) -> None:
    bad = PODS.replace("p0,500", "p0,-5").replace("2,1000,,BE", "2,700,,BE").replace("p1,2000", "p0,x")
    assert refusal(lambda: openb.read_pods(written(tmp_path, "p.csv", bad)), tmp_path) == [
        "p.csv:2: cpu_milli: must be a finite number of at least 0, got '-5'",
        "p.csv:3: name: there is a pod 'p0' already",
        "p.csv:3: cpu_milli: must be a finite number of at least 0, got 'x'",
        "p.csv:4: gpu_milli: must be at most 1000, and 1000 of several GPUs, got 700",
    ]
    early = PODS.replace("25,15", "2,15")
    assert refusal(lambda: openb.read_workload(written(tmp_path, "p.csv", early)), tmp_path) == [
        "p.csv:2: deletion_time: must be a finite number of at least 15, got '2'"
    ]
    assert refusal(lambda: openb.read_fleet(written(tmp_path, "n.csv", NODES.replace("model", "mode"))), tmp_path) == [
        "n.csv:1: column 'model' is missing; the first line names the columns"
    ]


def test_philly_jobs_are_gangs_in_the_order_of_their_arrival(tmp_path: Path) -> None:
    a, b = (job.view for job in philly.read_workload(written(tmp_path, "j.csv", JOBS)).jobs)
    assert (a.id, a.submitted_s, a.bundle, a.min_workers, a.work) == ("a", 3.5, Resources(1.0), 1, 7)
    assert (b.bundle, b.min_workers, b.max_workers, b.tenant) == (Resources(2, 1, 4 * 2.0**30), 4, 4, "vc1")
    assert b.remaining_s(4) == 100


def test_philly_mistakes(tmp_path: Path) -> None:
    bad = JOBS.replace("b,9,4,100", "b,-9,1.5,0") + "b,1,1,1,,,,\n,1,1,inf,,,,\n"
    assert refusal(lambda: philly.read_workload(written(tmp_path, "j.csv", bad)), tmp_path) == [
        "j.csv:2: gpus: must be a whole number of at least 0 and at most 100,000, got '1.5'",
        "j.csv:2: submitted_s: must be a finite number of at least 0, got '-9'",
        "j.csv:2: duration_s: must be a finite number above 0, got '0'",
        "j.csv:4: job_id: there is a job 'b' already; give this one another name",
        "j.csv:5: job_id: is empty; every row has it",
        "j.csv:5: duration_s: must be a finite number above 0, got 'inf'",
    ]


def test_a_static_job_of_shockwaves_takes_its_steps_over_its_throughput(tmp_path: Path) -> None:
    one, two = shockwave_of(tmp_path, line(steps=5000) + line(gpus=2)).jobs
    assert one.view.submitted_s == 12.5 and one.view.deadline_s == math.inf
    assert one.view.remaining_s(1, "v100") == pytest.approx(5000 / 20)
    assert (two.view.min_workers, two.view.remaining_s(2, "v100")) == (2, pytest.approx(14920 / 30))
    assert two.view.rate(1, "v100") == 0


def test_a_job_that_adapts_has_a_phase_for_every_batch_size(tmp_path: Path) -> None:
    (job,) = shockwave_of(tmp_path, line(steps=29000, mode="gns")).jobs
    epochs = 29000 * 40 / 59675
    assert [phase.work for phase in job.phases] == pytest.approx([11, epochs - 11])  # it doubles from epoch 11 on
    assert job.view.work == pytest.approx(epochs)
    seconds = [phase.work / phase.rates["v100"][-1] for phase in job.phases]
    assert seconds == pytest.approx([11 * 59675 / 40 / 20, (epochs - 11) * 59675 / 80 / 10])


def test_lines_are_told_as_they_are_and_refused_like_jobs(tmp_path: Path) -> None:
    first, second = shockwave.read_lines(written(tmp_path, "s.trace", line(mode="gns") + "\n" + line(gpus=2)))
    assert (first.name, first.number, first.model, first.batch, first.gpus) == ("job-000", 1, "LM", 40, 1)
    assert (second.name, second.number, second.mode, second.gpus, second.at_s) == ("job-001", 3, "static", 2, 12.5)
    bad = written(tmp_path, "s.trace", line() + line(mode="gnss"))
    assert refusal(lambda: shockwave.read_lines(bad), tmp_path)[0].startswith("s.trace:2: mode: unknown mode 'gnss'")


def test_batch_sizes_grow_as_published() -> None:
    assert shockwave.batch_sizes("LM", 5, 1, "gns", 80)[30:72:10] == [5, 10, 20, 20, 40]
    assert shockwave.batch_sizes("LM", 5, 1, "gns", 80)[71] == 80
    assert shockwave.batch_sizes("Transformer", 16, 1, "gns", 50) == [16] * 50
    assert shockwave.batch_sizes("Recommendation", 512, 1, "gns", 200)[-1] == 8192
    accordion = shockwave.batch_sizes("ResNet-50", 32, 1, "accordion", 50)
    assert accordion == [32] * 16 + [128] * 14 + [32] * 10 + [128] * 10  # 30 % of 50, then from 30 to 40
    assert shockwave.batch_sizes("LM", 40, 1, "accordion", 20) == [40] * 10 + [80] * 10
    assert shockwave.batch_sizes("Transformer", 16, 1, "accordion", 50) == [16] * 50


def test_shockwave_mistakes(tmp_path: Path) -> None:
    text = (
        line("ML (batch size 5)")
        + "\n"
        + line(mode="gnss")
        + line(steps=-1, gpus=1.5)
        + line(gpus=4)
        + line(steps=10**12)
        + "a\tb\n"
        + line().replace("12.5", "-1")
    )
    found = refusal(lambda: shockwave_of(tmp_path, text), tmp_path)
    assert found[0].startswith("s.trace:1: job_type: must be such as 'LM (batch size 5)'; unknown model 'ML'. The ch")
    assert found[1].startswith("s.trace:3: mode: unknown mode 'gnss'. Did you mean 'gns'?")
    assert found[2:] == [
        "s.trace:4: total_steps: must be a whole number above 0, got '-1'",
        "s.trace:4: scale_factor: must be a whole number above 0, got '1.5'",
        "s.trace:5: job_type: no throughput above 0 is known of LM (batch size 40) with 4 GPUs",
        "s.trace:6: total_steps: makes over 100,000 epochs, got 1000000000000",
        "s.trace:7: must have 12 fields with tabs between them, got 2",
        "s.trace:8: arrival_time: must be a finite number of at least 0, got '-1'",
    ]
    assert refusal(lambda: shockwave_of(tmp_path, "\n"), tmp_path)[0].startswith("s.trace: has no job")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"v100": {,', "r.json:1: column 11: not valid JSON"),
        ("[" * 100_000, "r.json: cannot be read"),
        ("[" + "1" * 5000 + "]", "r.json: cannot be read"),
        ("[]", "r.json: must be an object of kinds"),
        ('{"v10": {}}', "r.json: unknown kind 'v100'. Did you mean 'v10'?"),
        ('{"v100": 3}', "r.json: v100: must be an object of models, got 3"),
        ('{"v100": {"(\'LM\', 1)": {"null": -1}}}', "r.json: v100: ('LM', 1): null: must be a finite number of at "),
    ],
)
def test_throughputs_that_are_none(text: str, expected: str, tmp_path: Path) -> None:
    path = written(tmp_path, "r.json", text)
    assert refusal(lambda: gavel.read_rates(path, ("v100",)), tmp_path)[0].startswith(expected)


def test_alibabas_times_are_speeds_round_by_round(tmp_path: Path) -> None:
    trace = alibaba.read_trace(written(tmp_path, "t.csv", TIMES), unit_s=0.01)
    assert trace.fleet is not None and [one.capacity.gpu for one in trace.fleet.machines] == [1, 1]
    (job,) = trace.workload.jobs
    assert job.learning is not None and job.learning.rounds == 2  # the third was not recorded by both
    told = [(one.at_s, one.machine, one.factor) for one in trace.faults]
    assert {one.kind for one in trace.faults} == {FaultKind.SPEED}
    mean = 200.0
    assert told == [
        (0.0, "worker-0", pytest.approx(mean / 100)),
        (0.0, "worker-1", pytest.approx(mean / 300)),
        (3.0, "worker-0", pytest.approx(1.0)),
        (3.0, "worker-1", pytest.approx(1.0)),
    ]


def test_equal_shares_take_as_long_as_alibabas_job_took(tmp_path: Path) -> None:
    trace = alibaba.read_trace(written(tmp_path, "t.csv", TIMES), unit_s=0.01)
    assert trace.fleet is not None
    world = World(trace.fleet, trace.workload, trace.faults)
    assert simulate(world, resolve("equal")).jobs[0].ended_s == pytest.approx(3.0 + 2.0)
    assert simulate(world, resolve("adaptive-pull")).jobs[0].ended_s < 4.9


def test_alibaba_mistakes(tmp_path: Path) -> None:
    bad = TIMES.replace("1,100", "1,0").replace("1,1,25,1,", "1,x,250,1,")
    assert refusal(lambda: alibaba.read_trace(written(tmp_path, "t.csv", bad)), tmp_path) == [
        "t.csv:2: batch_time_norm: must be a finite number above 0, got '0'",
        "t.csv:3: worker: must be a whole number of at least 0, got 'x'",
        "t.csv:3: gpu: must be at most 100 percent of a GPU, got 250",
    ]
    alone = "worker,gpu,time,batch_time_norm\n0,25,1,100\n1,25,2,100\n"
    (told,) = refusal(lambda: alibaba.read_trace(written(tmp_path, "t.csv", alone)), tmp_path)
    assert told == "t.csv: no iteration has a time of each of the 2 workers"


def test_the_kind_of_a_trace_is_seen_from_the_file(tmp_path: Path) -> None:
    pods = written(tmp_path, "pods.csv", PODS)
    assert load_trace(pods).fleet is None
    written(tmp_path, "openb_node_list_gpu_node.csv", NODES)
    trace = load_trace(pods)
    assert trace.fleet is not None and (len(trace.workload), len(trace.fleet)) == (2, 2)
    shockwave_of(tmp_path, line())
    assert len(load_trace(tmp_path / "s.trace").workload) == 1
    jobs = load_trace(written(tmp_path, "j.csv", JOBS))
    assert len(jobs.workload) == 2
    assert load_trace(written(tmp_path, "t.csv", TIMES)).faults
    write_trace(jobs.workload, tmp_path / "own.txt")
    assert len(load_trace(tmp_path / "own.txt").workload) == 2
    assert len(load_trace(pods, "openb").workload) == 2


def test_a_file_that_looks_like_no_trace_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, "x.csv", "a,b\n1,2\n")
    (told,) = refusal(lambda: load_trace(path), tmp_path)
    assert told.startswith("x.csv:1: looks like no trace") and "philly: job_id,submitted_s" in told
    with pytest.raises(UserError, match=r"unknown kind of trace 'phily'. Did you mean 'philly'"):
        load_trace(path, "phily")
    with pytest.raises(UserError, match="no such file"):
        load_trace(tmp_path / "absent")


def of_folder(data_folder: Path, name: str) -> Path:
    if not (data_folder / name).is_dir():
        pytest.skip(f"public data is absent: {data_folder / name} (set APPORTION_DATA)")
    return data_folder / name


def test_the_published_shockwave_trace(data_folder: Path) -> None:
    (path,) = of_folder(data_folder, "shockwave").glob("120_*.trace")
    trace = load_trace(path)
    assert trace.fleet is not None and (len(trace.workload), len(trace.fleet)) == (120, 8)
    seconds = {
        job.view.id: sum(phase.work / phase.rates["v100"][-1] for phase in job.phases) for job in trace.workload.jobs
    }
    busy_s = sum(seconds[job.view.id] * job.view.min_workers for job in trace.workload.jobs)
    # published of the policy of the same name, simulated: makespan 24,197.4 s with 81.7 % of 32 GPUs busy
    assert busy_s / 32 == pytest.approx(24197.4 * 0.817, rel=0.005)
    lines = [one.split("\t") for one in path.read_text().splitlines()]
    static = {f"job-{number:03d}": float(line[10]) for number, line in enumerate(lines) if line[7] == "static"}
    assert len(static) == 4
    assert [seconds[name] for name in static] == pytest.approx(list(static.values()), rel=0.002)


def test_the_published_openb_trace_and_alibabas(data_folder: Path) -> None:
    trace = load_trace(of_folder(data_folder, "openb") / "openb_pod_list_default.csv")
    assert trace.fleet is not None and (len(trace.workload), len(trace.fleet)) == (7255, 1213)
    for name, rounds in (("job_1", 300), ("job_2", 238)):
        (job,) = load_trace(of_folder(data_folder, "alibaba-minibatch") / f"{name}_norm.csv").workload.jobs
        assert job.learning is not None and (job.learning.rounds, job.view.min_workers) == (rounds, 10)
