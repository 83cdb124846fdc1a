"""Declared ignores: what they may name, when they count, and that they are never matched."""

from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from turnout_parity.ignores import Ignore, read_ignores
from turnout_parity.report import Difference, Kind, Source, Verdict

from turnout.errors import InvalidSettings

NOW = datetime(2026, 3, 1, tzinfo=UTC)
GOOD = '[[ignore]]\npath = "/result/v"\nreason = "known"\nowner = "ann"\nexpires = 2026-12-31\n'


def ignore(path: str, **more: Any) -> Ignore:
    """Declare an ignore."""
    given = {"reason": "known", "owner": "ann", "expires": date(2026, 12, 31), **more}
    return Ignore(path=path, **given)


def difference(pointer: str, artifact: str = "steps/0000-a.json", **more: Any) -> Difference:
    """Make a difference."""
    return Difference(
        **{"run_id": "r", "kind": Kind.OUTPUT, "source": Source.RECORDED, **more},
        artifact=artifact,
        pointer=pointer,
    )


@pytest.mark.parametrize(
    ("path", "pointer", "covered"),
    [
        ("/output/at", "/output/at", True),
        ("/output/at", "/output/at/0", False),
        ("/output/*/at", "/output/3/at", True),
        ("/output/*/at", "/output/3/4/at", False),
        ("/output/**", "/output/3/4/at", True),
        ("/output/**/at", "/output/at", True),
        ("steps/*.json#/output/at", "/output/at", True),
        ("status.json#/output/at", "/output/at", False),
        ("/output/a.c", "/output/abc", False),
    ],
)
def test_a_glob_covers_names_and_no_more(path: str, pointer: str, covered: bool) -> None:
    """`*` is one name, `**` any number; everything else is itself."""
    assert ignore(path).covers(difference(pointer)) is covered


@pytest.mark.parametrize("kind", [Kind.MISSING, Kind.INVALID, Kind.OVERLAP])
def test_what_must_never_happen_is_never_ignored(kind: Kind) -> None:
    """No glob covers a missing twin, a broken artifact or an overlap, and none may name them."""
    assert not ignore("/output/**").covers(difference("/output/at", kind=kind))
    with pytest.raises(ValidationError, match="never ignored"):
        ignore("/output/at", kinds=(kind,))


@pytest.mark.parametrize("path", ["/**", "**#/**", "output/at", "steps/*#output"])
def test_an_ignore_names_a_place(path: str) -> None:
    """Everything at once, or something that is no pointer, is refused."""
    with pytest.raises(ValidationError):
        ignore(path)


def test_a_task_or_kinds_narrow_an_ignore() -> None:
    """It counts only for the named task and the named kinds."""
    narrow = ignore("/output/at", task="a", kinds=(Kind.OUTPUT,))
    assert narrow.covers(difference("/output/at", task="a"))
    assert not narrow.covers(difference("/output/at", task="b"))
    assert not narrow.covers(difference("/output/at", task="a", kind=Kind.STATUS))


@pytest.mark.parametrize("name", ["ignores.toml", "ignores.json"])
def test_ignores_are_read_from_toml_and_json(tmp_path: Path, name: str) -> None:
    """Both formats give the same."""
    entry = '{"path":"/result/v","reason":"known","owner":"ann","expires":"2026-12-31"}'
    text = GOOD if name.endswith("toml") else f'{{"ignore": [{entry}]}}'
    path = tmp_path / name
    path.write_text(text)
    assert read_ignores(path) == (ignore("/result/v"),)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (GOOD.replace('owner = "ann"\n', ""), r"ignore 0\.owner"),
        (GOOD.replace("2026-12-31", '"soon"'), r"ignore 0\.expires"),
        ("ignores = 1\n", "unknown keys"),
        ("[[ignore", "not TOML"),
        (GOOD + 'colour = "red"\n', r"ignore 0\.colour"),
    ],
)
def test_a_faulty_file_is_refused_by_entry_and_field(tmp_path: Path, text: str, said: str) -> None:
    """An owner, a reason and an expiry are not optional."""
    path = tmp_path / "ignores.toml"
    path.write_text(text)
    with pytest.raises(InvalidSettings, match=said):
        read_ignores(path)


def test_a_file_that_is_not_there_is_said_so(tmp_path: Path) -> None:
    """The error names the file."""
    with pytest.raises(InvalidSettings, match="nowhere"):
        read_ignores(tmp_path / "nowhere.toml")


async def test_an_ignored_pair_is_counted_for_itself(shelf: Any) -> None:
    """Ignored is counted, never matched; alone it proves nothing."""
    shelf.pair("a", result={"v": 1}, shadow={"result": {"v": 2}})
    report = await shelf.check(ignores=[ignore("/result/v")], now=NOW)
    assert (report.pairs, report.matched, report.ignored, report.mismatched) == (1, 0, 1, 0)
    assert report.verdict is Verdict.INCONCLUSIVE
    assert report.differences[0].ignored_by == "/result/v"
    assert report.ignores[0].pairs == 1


async def test_an_ignore_does_not_hide_what_it_does_not_name(shelf: Any) -> None:
    """One declared place beside another difference leaves the pair mismatched."""
    shelf.pair("a", result={"v": 1, "w": 1}, shadow={"result": {"v": 2, "w": 2}})
    report = await shelf.check(ignores=[ignore("/result/v")], now=NOW)
    assert (report.mismatched, report.ignored) == (1, 0)
    assert report.verdict is Verdict.FAIL


async def test_an_expired_ignore_is_reported_and_not_applied(shelf: Any) -> None:
    """The last day counts; the day after, the pair is mismatched and the owner is named."""
    shelf.pair("a", result={"v": 1}, shadow={"result": {"v": 2}})
    last = ignore("/result/v", expires=NOW.date())
    assert (await shelf.check(ignores=[last], now=NOW)).ignored == 1
    over = ignore("/result/v", expires=date(2026, 2, 28))
    report = await shelf.check(ignores=[over], now=NOW)
    assert (report.mismatched, report.ignores[0].expired) == (1, True)
    assert any("expired" in warning and "ann" in warning for warning in report.warnings)


async def test_an_ignore_that_met_nothing_is_told(shelf: Any) -> None:
    """What is not needed any more can be removed."""
    shelf.pair("a")
    report = await shelf.check(ignores=[ignore("/result/v")], now=NOW)
    assert report.verdict is Verdict.PASS
    assert any("can be removed" in warning for warning in report.warnings)
