"""Parity of a team's own documents, of any schema."""

from typing import Any

import orjson
import pytest
from turnout_parity.report import Kind, Verdict
from turnout_parity.user_documents import documents_at

from turnout.errors import InvalidSettings

PATTERN = "runs/{run}/**/*.json"


def put(shelf: Any, key: str, value: Any) -> None:
    """Write one document, as another program would."""
    shelf.write(key, orjson.dumps(value, option=orjson.OPT_INDENT_2))


async def test_documents_of_any_schema_are_compared(shelf: Any) -> None:
    """Equal values match, whatever their bytes; differences are pointers into the document."""
    put(shelf, "runs/a/status.json", {"state": "done", "n": 1})
    shelf.write("runs/a-dryrun/status.json", b'{"n":1,"state":"done"}')
    put(shelf, "runs/b/out/deep/x.json", {"rows": [{"id": 1, "v": True}]})
    put(shelf, "runs/b-dryrun/out/deep/x.json", {"rows": [{"id": 1, "v": 1}]})
    report = await shelf.check(documents=documents_at(PATTERN))
    assert (report.pairs, report.matched, report.verdict) == (2, 1, Verdict.FAIL)
    (found,) = report.differences
    assert (found.run_id, found.artifact, found.pointer) == ("b", "out/deep/x.json", "/rows/0/v")
    assert (found.primary, found.shadow) == (True, 1)


async def test_a_missing_document_and_a_missing_twin_are_told_apart(shelf: Any) -> None:
    """One fails its pair by name, the other counts as missing."""
    put(shelf, "runs/a/x.json", 1)
    put(shelf, "runs/a/y.json", 1)
    put(shelf, "runs/a-dryrun/x.json", 1)
    put(shelf, "runs/b/x.json", 1)
    put(shelf, "runs/c-dryrun/x.json", 1)
    report = await shelf.check(documents=documents_at(PATTERN))
    assert (report.pairs, report.mismatched, report.missing) == (3, 3, 2)
    found = {(d.run_id, d.kind, d.artifact, d.absent) for d in report.differences}
    assert found == {
        ("a", Kind.MISSING, "y.json", "shadow"),
        ("b", Kind.MISSING, "", "shadow"),
        ("c", Kind.MISSING, "", "primary"),
    }


@pytest.mark.parametrize("body", [b"{", b"[" * 50_000, b"\xff", b'{"a":1,"a":2}', b"9" * 400])
async def test_what_is_no_json_fails_its_pair_by_name(shelf: Any, body: bytes) -> None:
    """The kind is invalid, and the others are compared all the same."""
    put(shelf, "runs/a/x.json", {"a": 1})
    shelf.write("runs/a-dryrun/x.json", body)
    put(shelf, "runs/b/x.json", 1)
    put(shelf, "runs/b-dryrun/x.json", 1)
    report = await shelf.check(documents=documents_at(PATTERN))
    assert (report.matched, report.mismatched) == (1, 1)
    assert [(d.run_id, d.kind) for d in report.differences] == [("a", Kind.INVALID)]


@pytest.mark.parametrize("twin", ["{run}-new", "new-{run}", "x.{run}.y"])
async def test_a_twin_may_be_named_in_other_ways(shelf: Any, twin: str) -> None:
    """A prefix, a suffix or both."""
    for run in ("a", "b"):
        put(shelf, f"out/{run}.json", {"v": 1})
        put(shelf, f"out/{twin.replace('{run}', run)}.json", {"v": 1})
    report = await shelf.check(documents=documents_at("out/{run}.json", twin=twin))
    assert (report.pairs, report.matched, report.verdict) == (2, 2, Verdict.PASS)


async def test_a_task_may_be_captured(shelf: Any) -> None:
    """Counts are then by task, and one run id may occur in several."""
    for task in ("one", "two"):
        put(shelf, f"jobs/{task}/r1/x.json", task)
        put(shelf, f"jobs/{task}/r1-dryrun/x.json", task)
    report = await shelf.check(documents=documents_at("jobs/{task}/{run}/*.json"))
    assert {name: count.matched for name, count in report.tasks.items()} == {"one": 1, "two": 1}


async def test_noise_in_own_documents_is_labelled(shelf: Any) -> None:
    """Nothing was replayed, so what looks like a clock is told as such."""
    put(shelf, "runs/a/x.json", {"finished": "2026-01-01T10:00:00Z"})
    put(shelf, "runs/a-dryrun/x.json", {"finished": "2026-01-01T10:00:09Z"})
    report = await shelf.check(documents=documents_at(PATTERN))
    assert [d.label for d in report.differences] == ["noise-like"]


@pytest.mark.parametrize(
    ("pattern", "twin"),
    [
        ("runs/*.json", "{run}-dryrun"),
        ("runs/{run}/{run}.json", "{run}-dryrun"),
        ("**/{run}/x.json", "{run}-dryrun"),
        (PATTERN, "{run}"),
        (PATTERN, "shadow"),
        (PATTERN, "shadow/{run}"),
    ],
)
def test_a_pattern_that_cannot_work_is_refused_by_name(pattern: str, twin: str) -> None:
    """The error names the option and what to write."""
    with pytest.raises(InvalidSettings, match=r"--(documents|twin) '"):
        documents_at(pattern, twin=twin)
