"""The HTML report: its text, and what a browser makes of it."""

from __future__ import annotations

import math
import re
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from policies.interface import Resources
from scheduler.errors import UserError
from scheduler.report.html import write_report
from scheduler.results.comparison import Comparison
from scheduler.results.outcome import Activity, Interval, JobOutcome, NodeOutcome, RoundOutcome, RunOutcome, Status, Use

EVIL = "<script>alert(1)</script>"
GIB = 2.0**30


def run_of(policy: str, seed: int, slow: float) -> RunOutcome:
    """Four jobs of two rounds on five nodes; the fifth node is dead for a while."""
    nodes = tuple(NodeOutcome(f"node-{n}", "cpu", Resources(4, n % 2, 8 * GIB)) for n in range(5))
    jobs, intervals = [], [Interval("node-4", "", -1, Activity.DEAD, 2.0, 5.0)]
    for number, name in enumerate((EVIL, "digits", "boston", "diabetes")):
        from_s, middle_s, to_s = number + 1.0, number + 1 + slow, number + 1 + 3 * slow + seed
        node = nodes[number].id
        intervals += [
            Interval(node, name, 0, Activity.STARTING, float(number), from_s),
            Interval(node, name, 0, Activity.BUSY, from_s, middle_s, 0),
            Interval(node, name, 0, Activity.WAITING, middle_s, to_s, 1),
        ]
        rounds = tuple(RoundOutcome(at, slow, (slow,), loss=1 / at) for at in (middle_s, to_s))
        done = JobOutcome(name, 0.0, Resources(2, 0, GIB), 1, Status.FINISHED, from_s, to_s, rounds=rounds)
        jobs.append(done)
    ended_s = max(job.ended_s for job in jobs)
    all_ = Resources(20, 2, 40 * GIB)
    uses = (Use(0.0, Resources(8, 0, 4 * GIB), all_, 0, 4), Use(4.0, Resources(2, 0, GIB), all_, 0, 1))
    return RunOutcome(policy, seed, False, ended_s, nodes, tuple(jobs), uses, tuple(intervals))


@pytest.fixture
def report(tmp_path: Path) -> Path:
    pytest.importorskip("plotly", reason="the HTML report needs plotly")
    policies = ("equal", "adaptive", "pull")
    runs = tuple(run_of(policy, seed, 3.0 - n) for n, policy in enumerate(policies) for seed in (0, 1))
    command = "apportion compare a.yaml --set 'x<y'"
    comparison = Comparison(f"Jobs {EVIL}", policies, (0, 1), runs, command, {"apportion": "0.1.0"})
    write_report(comparison, tmp_path / "report.html")
    return tmp_path / "report.html"


def test_text_is_escaped_and_nothing_is_loaded(report: Path) -> None:
    text = report.read_text("utf-8")
    assert EVIL not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text
    assert "x&lt;y" in text
    own = re.sub(r"<script>.*?</script>", "", text, flags=re.S)
    assert not re.search(r"https?://|\b(src|href)=|url\(", own)
    assert "default-src 'none'" in own
    assert len(own) < 200_000 < len(text) < 8_000_000


def test_without_plotly_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "plotly.offline", None)
    with pytest.raises(UserError, match=r"apportion\[report\]"):
        write_report(Comparison("t", (), (), ()), tmp_path / "report.html")
    assert not list(tmp_path.iterdir())


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """Start one browser for all tests."""
    path = shutil.which("chromium")
    if path is None:
        pytest.skip("no chromium on the path")
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with api.sync_playwright() as play:
        browser = play.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@contextmanager
def opened(chromium: Any, report: Path, scheme: str = "light", width: int = 1280) -> Iterator[Any]:
    """Open a report, and see to it that it loads nothing else and that nothing goes wrong."""
    page = chromium.new_page(color_scheme=scheme, viewport={"width": width, "height": 900})
    trouble: list[str] = []
    requests: list[str] = []
    page.on("console", lambda message: trouble.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: trouble.append(str(error)))
    page.on("request", lambda request: requests.append(request.url))
    page.goto(report.as_uri())
    page.wait_for_selector("#jct .scatterlayer path.js-line", state="attached")
    yield page
    assert trouble == []
    assert requests == [report.as_uri()]
    page.close()


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("light", 390), ("dark", 1280), ("dark", 390)])
def test_in_a_browser(chromium: Any, report: Path, scheme: str, width: int) -> None:
    with opened(chromium, report, scheme, width) as page:
        for place in ("ratios", "jct", "timeline", "utilisation", "heat", "loss-time", "loss-round"):
            assert page.locator(f"#{place} svg.main-svg").count() > 0, place
        for place in ("utilisation", "heat"):
            assert page.locator(f"#{place} h3").all_inner_texts() == ["equal", "adaptive", "pull"]
        assert page.locator("#timeline .bars path").count() >= 13
        page.locator("#timeline .bars path").first.hover(force=True)
        page.wait_for_selector("#timeline .hoverlayer .hovertext")
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        # No plot is wider than its place.
        assert page.evaluate(
            "[...document.querySelectorAll('.panels')].every((one) => one.scrollWidth <= one.clientWidth)"
        )
        page.screenshot(path=str(report.parent / "page.png"), full_page=True)


def test_colours_can_be_told_from_the_page(chromium: Any, report: Path) -> None:
    luminance = """(name) => getComputedStyle(document.body)[name].match(/\\d+/g).slice(0, 3)
        .map((one) => (one / 255) ** 2.2).reduce((sum, one, at) => sum + one * [0.2126, 0.7152, 0.0722][at], 0)"""
    for scheme in ("light", "dark"):
        with opened(chromium, report, scheme) as page:
            text, back = (page.evaluate(luminance, name) for name in ("color", "backgroundColor"))
            assert (max(text, back) + 0.05) / (min(text, back) + 0.05) > 7  # WCAG, AAA
            assert (text > back) is (scheme == "dark")
            shown = page.locator("#jct .xtick text").first.evaluate("(one) => getComputedStyle(one).fill")
            assert shown == page.evaluate("getComputedStyle(document.body).color")


def test_selects_show_what_is_chosen(chromium: Any, report: Path) -> None:
    with opened(chromium, report) as page:
        ends = "document.querySelector('#timeline .panels > div > div, #timeline > div > div').data.at(-1).x"
        before = page.evaluate(ends)
        page.get_by_label("Choose: Timeline of the workers, seed 0").select_option("pull")
        assert page.evaluate(ends) != before
        heat = page.get_by_label("Choose: Use of each node, seed 0")
        assert heat.locator("option").all_inner_texts() == ["CPU", "GPU", "memory"]
        heat.select_option("GPU")
        assert page.locator("#heat h3").count() == 3


def test_jobs_are_chosen_by_policy_and_seed_and_stay_sorted(chromium: Any, report: Path) -> None:
    with opened(chromium, report) as page:
        policy, seed = page.get_by_label("Choose the policy"), page.get_by_label("Choose the seed")
        assert seed.locator("option").all_inner_texts() == ["mean over 2 seeds", "seed 0", "seed 1"]
        assert page.locator("#jobs tbody td", has_text=EVIL).count() == 1
        assert page.locator("#jobs tbody tr").count() == 4

        def jcts() -> list[float]:
            head = page.locator("#jobs thead th").all_inner_texts()
            column = next(number for number, name in enumerate(head) if name.startswith("JCT"))
            return [float(text) for text in page.locator(f"#jobs tbody td:nth-child({column + 1})").all_inner_texts()]

        means = jcts()
        for _ in range(2):
            page.locator("#jobs th", has_text="JCT").locator("button").click()
        assert jcts() == sorted(means, reverse=True)
        policy.select_option("pull")
        seed.select_option("seed 1")
        chosen = jcts()
        assert chosen == sorted(chosen, reverse=True) != sorted(means, reverse=True)
        policy.select_option("equal")
        assert seed.input_value() == "seed 1"
        assert page.locator("#jobs th[aria-sort='descending']").count() == 1


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_on_paper_it_is_light_and_fits(chromium: Any, report: Path, scheme: str) -> None:
    with opened(chromium, report, scheme) as page:
        page.evaluate("""addEventListener("beforeprint", () => {
            const widths = [...document.querySelectorAll("svg.main-svg")].map((one) => one.clientWidth);
            const label = document.querySelector("#jct .xtick text");
            window.printed = { most: Math.max(...widths), text: getComputedStyle(label).fill };
        })""")
        assert page.pdf(format="A4").startswith(b"%PDF")
        printed = page.evaluate("window.printed")
        assert printed["most"] <= 703  # A4 less its margins, at 96 dots an inch
        assert printed["text"] == "rgb(29, 33, 37)"
        page.wait_for_function("document.querySelector('#jct svg.main-svg').clientWidth > 1000")


def test_what_is_not_finite_breaks_nothing(chromium: Any, tmp_path: Path) -> None:
    lost = JobOutcome("a", 0.0, Resources(1), rounds=(RoundOutcome(1.0, 1.0, (1.0,), loss=math.nan),))
    good = run_of("good", 0, 1.0)
    never = replace(good, policy="never", ended_s=math.nan, jobs=(lost,), uses=())
    write_report(Comparison("t", ("good", "never"), (0,), (good, never)), tmp_path / "report.html")
    with opened(chromium, tmp_path / "report.html") as page:
        page.get_by_label("Choose the policy").select_option("never")
        assert page.locator("#jobs tbody td").all_inner_texts()[:5] == ["a", "unfinished", "0", "-", "-"]


def test_many_policies_with_long_names(chromium: Any, tmp_path: Path) -> None:
    names = tuple(f"{name}+fgd+adaptive-pull-number-{number}" for number, name in enumerate(("drf", "las") * 5))
    runs = tuple(run_of(name, 0, 1.0 + number) for number, name in enumerate(names))
    write_report(Comparison("t", names, (0,), runs), tmp_path / "report.html")
    for width in (1280, 390):
        with opened(chromium, tmp_path / "report.html", width=width) as page:
            assert page.locator("#utilisation h3").all_inner_texts() == list(names)
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
            # The legend leaves the plot room.
            assert (
                page.locator("#jct .bglayer, #jct .plot").first.evaluate("(one) => one.getBoundingClientRect().height")
                > 80
            )
