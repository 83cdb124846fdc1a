"""Reports: complete, escaped, and of bounded size."""

import io
import json
import re
from datetime import UTC, datetime
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from rich.console import Console
from turnout_parity.redaction import redaction
from turnout_parity.render import render_html, render_json, render_junit, render_terminal
from turnout_parity.report import ParityReport

NOW = datetime(2026, 1, 1, tzinfo=UTC)
EVIL = "</pre></details><script>alert(1)</script>\x1b[2J\u202egnp\" onload='x'"


@pytest.fixture
async def report(shelf: Any, spec: Any) -> ParityReport:
    """Check a store with something of everything."""
    for number in range(10):
        shelf.pair(f"run-{number}", overhead_ms=number * 7, shadow={"overhead_ms": 60})
    shelf.pair(
        "evil", task=EVIL, steps=[spec(EVIL.replace("\x1b", ""), EVIL)], shadow={"result": EVIL}
    )
    shelf.pair("secret", shadow={"result": {"password": "hunter2", "note": "tok_12345"}})
    shelf.pair("late", not_comparable="late")
    hidden = redaction([r"tok_\d+"])
    found: ParityReport = await shelf.check(now=NOW, redaction=hidden, name="/data")
    return found


def test_json_holds_what_is_documented(report: ParityReport) -> None:
    """The names that others read."""
    told = json.loads(render_json(report))
    assert told["verdict"] == "FAIL"
    assert set(told) >= {
        *("verdict", "pairs", "matched", "mismatched", "ignored", "missing", "late"),
        *("not_comparable", "not_tested", "tasks", "differences"),
    }
    assert set(told["differences"][0]) >= {
        *("run_id", "artifact", "step", "pointer", "kind", "primary", "shadow", "source", "label"),
    }
    assert set(told["tasks"]["agent-run"]) >= {"pairs", "matched", "mismatched"}
    assert ParityReport.model_validate_json(render_json(report)) == report


def test_the_page_needs_nothing_and_loads_nothing(report: ParityReport) -> None:
    """No script, no address, no file: it works offline, for ever."""
    page = render_html(report)
    assert not re.search(r"(?i)<script|<link|<img|<iframe|@import|url\(|\ssrc=|\shref=", page)
    assert "default-src 'none'" in page
    assert page.count("<svg") >= 4


def test_hostile_texts_are_shown_and_not_obeyed(report: ParityReport) -> None:
    """Markup is escaped; characters that steer a terminal or turn text around are written out."""
    page = render_html(report)
    assert "&lt;script&gt;alert(1)" in page
    assert "\x1b" not in page
    assert "\u202e" not in page
    console = Console(width=200, record=True, file=open("/dev/null", "w"))  # noqa: SIM115, PTH123
    console.print(render_terminal(report))
    text = console.export_text()
    assert "\x1b" not in text
    assert "\u202e" not in text


def test_secrets_reach_no_report(report: ParityReport) -> None:
    """Neither by their name nor by a declared pattern, nor through an explanation."""
    for text in (render_json(report), render_html(report), render_junit(report)):
        assert "hunter2" not in text
        assert "tok_12345" not in text


def test_every_difference_is_on_the_page(report: ParityReport) -> None:
    """One click each."""
    assert render_html(report).count('<details class="difference">') == report.differences_total


def test_junit_fails_the_task_and_the_verdict(report: ParityReport) -> None:
    """A CI server sees which task failed, and that the whole failed."""
    suite = ET.fromstring(render_junit(report))
    failed = {case.get("name") for case in suite if case.find("failure") is not None}
    assert {"agent-run", "verdict"} <= failed
    assert suite.get("failures") == str(len(failed))


async def test_junit_shows_inconclusive_as_a_failure(shelf: Any) -> None:
    """What cannot be told blocks."""
    suite = ET.fromstring(render_junit(await shelf.check()))
    failure = suite.find("testcase/failure")
    assert failure is not None
    assert failure.get("type") == "INCONCLUSIVE"


async def test_a_huge_report_is_cut_and_says_so(shelf: Any) -> None:
    """The page stays small; the cut is said in words."""
    for number in range(3):
        values = [list(range(300)), list(range(1, 301))]
        shelf.pair(f"r{number}", result=values[0], shadow={"result": values[1]})
    shelf.pair("long", result="x" * 50_000, shadow={"result": "y" * 50_000})
    report = await shelf.check()
    page = render_html(report)
    assert len(page) < 1_000_000
    assert "more of this kind are in the JSON report" in page
    assert "were counted and are not listed anywhere" in page
    assert "(cut; 50000 characters)" in render_json(report) or report.differences_total > 500


async def test_ids_are_never_broken(shelf: Any) -> None:
    """They are there to be copied, also from a narrow terminal."""
    run_id = "01m7xye87m08z6d2d4x4pbmjvk-" + "x" * 20
    shelf.pair(run_id, task="a-task-with-a-long-name", shadow={"result": {"some": "value"}})
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(render_terminal(await shelf.check()))
    text = console.export_text()
    assert run_id in text
    assert "a-task-with-a-long-name" in text


async def test_a_pass_reads_as_no_mismatch(shelf: Any) -> None:
    """What the number of pairs shows is told as that, with the way to more, and who ran what."""
    for number in range(24):
        shelf.pair(f"r{number}")
    report = (await shelf.check()).model_copy(update={"notes": ["both were <doubles>"]})
    assert report.reasons[0] == "no mismatch in 24 pairs"
    assert report.reasons[1] == (
        "that many alone show a match rate of at least 88.2 % with 95 % confidence;"
        " 275 more clean pairs show 99 %"
    )
    assert report.providers == {"primary": ["old"], "shadow": ["new"]}
    page = render_html(report)
    assert "both were &lt;doubles&gt;" in page
    for word in ("single", "not tested", "by construction", "overhead"):
        assert f"<dt>{word}</dt>" in page
