"""The HTML report: its text, and what a browser makes of it."""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

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


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("light", 390), ("dark", 1280)])
def test_in_a_browser(report: Path, scheme: str, width: int) -> None:
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("no chromium on the path")
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with api.sync_playwright() as play:
        browser = play.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(color_scheme=scheme, viewport={"width": width, "height": 900})
        trouble: list[str] = []
        requests: list[str] = []
        page.on("console", lambda message: trouble.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: trouble.append(str(error)))
        page.on("request", lambda request: requests.append(request.url))
        page.goto(report.as_uri())
        page.wait_for_selector("#jct .scatterlayer path.js-line", state="attached")
        for place in ("jct", "timeline", "utilisation", "heat", "loss-time", "loss-round"):
            assert page.locator(f"#{place} svg.main-svg").count() > 0, place
        assert page.locator("#timeline .bars path").count() >= 13
        head = page.locator("th", has_text="JCT s")
        head.locator("button").click()
        head.locator("button").click()
        values = page.locator("section:has(th:text('JCT s')) td:nth-child(8)").all_inner_texts()
        assert [float(value) for value in values] == sorted(map(float, values), reverse=True)
        assert page.locator("td", has_text=EVIL).count() == 6
        assert EVIL in page.locator("#timeline .yaxislayer-above").text_content()
        page.locator("#timeline .bars path").first.hover(force=True)
        page.wait_for_selector("#timeline .hoverlayer .hovertext")
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        page.screenshot(path=str(report.parent / "page.png"), full_page=True)
        browser.close()
    assert trouble == []
    assert requests == [report.as_uri()]
