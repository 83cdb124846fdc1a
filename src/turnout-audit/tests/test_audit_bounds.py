"""A hostile file ends within a bound, and is named; other files are read all the same."""

from pathlib import Path
from typing import Any

import pytest
from turnout_audit import bounds
from turnout_audit.engine import scan_files
from turnout_audit.load import load
from turnout_audit.model import FileScan
from turnout_audit.scan import Scanner

RULES = load("inngest")


class Endless(Scanner):
    """Never ends on one file."""

    def scan(self, path: str, text: str, **options: Any) -> FileScan:
        """Scan a text."""
        while path.endswith("endless.ts"):
            pass
        return super().scan(path, text, **options)


def test_a_file_that_takes_too_long_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next one is read."""
    monkeypatch.setattr(bounds, "SECONDS", 0.2)
    files = [tmp_path / "endless.ts", tmp_path / "next.ts"]
    for file in files:
        file.write_text('import "inngest";\n')
    share = scan_files(Endless(RULES), map(str, files))
    assert [problem.reason for problem in share.problems] == [
        "took longer than 0.2 s of the processor"
    ]
    assert [scan.path for scan in share.scans] == [str(files[1])]


def test_a_tree_of_files_that_take_too_long_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After some of them, each has less time; the name of each says how much."""
    monkeypatch.setattr(bounds, "SECONDS", 0.2)
    monkeypatch.setattr(bounds, "ALLOWANCE", 0.35)
    monkeypatch.setattr(bounds, "MINIMUM", 0.05)
    files = [tmp_path / f"{number}-endless.ts" for number in range(4)]
    for file in files:
        file.write_text('import "inngest";\n')
    share = scan_files(Endless(RULES), map(str, files))
    assert [problem.reason.split()[3] for problem in share.problems] == [
        "0.2",
        "0.15",
        "0.05",
        "0.05",
    ]


def test_json_that_is_nested_too_deep_is_named() -> None:
    """Before it is parsed; what it mentions is listed."""
    depth = 200_000
    scan = Scanner(RULES).scan("a.json", '{"inngest": ' + "[" * depth + "]" * depth + "}")
    assert [problem.reason for problem in scan.problems] == ["nested deeper than 200"]
    assert len(scan.unclassified) == 1


@pytest.mark.parametrize("path", ["a.env", "a.ts", "a.md", "a.sql"])
def test_many_hits_on_one_line_are_all_read(path: str) -> None:
    """Each is found, or the line is listed once."""
    scan = Scanner(RULES).scan(path, "x: INNGEST_A=1 " * 12_000)
    assert scan.findings or scan.unclassified or scan.exempted
    assert scan.problems == ()


@pytest.mark.parametrize("text", ["inngest.", "inngest/", "inngest", "a.inngest@", '"inngest",'])
def test_mentions_on_one_line_are_judged_in_linear_time(text: str) -> None:
    """So many mentions take a small part of the bound; judged one by one they would exceed it."""
    with bounds.bounded(bounds.SECONDS):
        scan = Scanner(RULES).scan("a.sql", text * 10_000)
    assert scan.findings or scan.unclassified or scan.exempted
