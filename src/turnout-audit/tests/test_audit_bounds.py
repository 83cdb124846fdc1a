"""A hostile file or tree ends within a bound, and is named; other files are read all the same."""

import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest
from ast_grep_py import SgRoot
from turnout_audit import processes, reading
from turnout_audit.engine import audit
from turnout_audit.history import burndown
from turnout_audit.load import load
from turnout_audit.model import AuditReport, FileProblem, FileScan
from turnout_audit.patch import plan
from turnout_audit.scan import Scanner

RULES = load("inngest")


def reasons(report: AuditReport) -> dict[str, str]:
    """Name the problems of files."""
    return {problem.path: problem.reason for problem in report.problems}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Enter an empty folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def hostile(monkeypatch: pytest.MonkeyPatch, name: str, deed: Any) -> None:
    """Do something whenever a file of this name is scanned."""
    scan = Scanner.scan

    def scan_badly(self: Scanner, path: str, text: str, **options: Any) -> FileScan:
        if path.endswith(name):
            deed()
        return scan(self, path, text, **options)

    monkeypatch.setattr(Scanner, "scan", scan_badly)


def in_a_library() -> None:
    """Stay in one call of C for very long."""
    brackets = "<!-- " * 1_000_000
    SgRoot(brackets, "python")


def for_ever() -> None:
    """Never end."""
    while True:
        pass


@pytest.mark.parametrize("deed", [in_a_library, for_ever])
def test_a_file_that_takes_too_long_is_named_and_its_mentions_are_listed(
    here: Path, monkeypatch: pytest.MonkeyPatch, deed: Any
) -> None:
    """Also where a library does not come back; what stands before and behind it is read."""
    monkeypatch.setattr(reading, "FILE_SECONDS", 0.2)
    hostile(monkeypatch, "endless.ts", deed)
    for number, name in enumerate(("a.ts", "endless.ts", "z.ts")):
        (here / name).write_text(
            "// \n" * number + 'import "inngest";\nx = "inngest"; // inngest\n'
        )
    report = audit(RULES, ["."])
    assert reasons(report) == {"endless.ts": "took longer than 0.2 s of the processor"}
    assert {finding.path for finding in report.findings} == {"a.ts", "z.ts"}
    lines = [(mention.path, mention.line) for mention in report.unclassified]
    assert {("endless.ts", 2), ("endless.ts", 3)} <= set(lines)


def test_a_process_that_is_killed_is_named_and_the_rest_is_read(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For want of memory for example."""
    hostile(monkeypatch, "k.ts", lambda: os.kill(os.getpid(), signal.SIGKILL))
    for name in ("a.ts", "k.ts", "z.ts"):
        (here / name).write_text('import "inngest";\n')
    report = audit(RULES, ["."])
    assert reasons(report) == {"k.ts": "cannot be scanned: its process was ended by signal 9"}
    assert {finding.path for finding in report.findings} == {"a.ts", "z.ts"}
    assert [mention.path for mention in report.unclassified] == ["k.ts"]


def test_what_goes_wrong_with_a_file_is_named(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No error of ours hides a file, and none stops the audit."""

    def deed() -> None:
        raise ValueError("two")

    hostile(monkeypatch, "k.ts", deed)
    for name in ("a.ts", "k.ts"):
        (here / name).write_text('import "inngest";\n')
    report = audit(RULES, ["."])
    assert reasons(report) == {"k.ts": "cannot be scanned: ValueError: two"}
    assert [mention.path for mention in report.unclassified] == ["k.ts"]
    assert [finding.path for finding in report.findings] == ["a.ts"]


def test_a_file_whose_mentions_cannot_even_be_listed_is_named(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is tried twice, and not a third time."""
    monkeypatch.setattr(reading, "FILE_SECONDS", 0.1)
    monkeypatch.setattr(Scanner, "listed", lambda *_: for_ever())
    hostile(monkeypatch, "endless.ts", for_ever)
    (here / "endless.ts").write_text('import "inngest";\n')
    report = audit(RULES, ["."])
    assert reasons(report) == {"endless.ts": "took longer than 0.1 s of the processor"}


def test_a_tree_that_takes_too_long_ends(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its small files are read first; the mentions of the others are listed."""
    monkeypatch.setattr(reading, "FILE_SECONDS", 0.1)
    monkeypatch.setattr(reading, "TREE_SECONDS", 0.15)
    monkeypatch.setattr(processes, "AT_RISK", 0.0)  # or what is done again counts twice
    hostile(monkeypatch, "endless.ts", for_ever)
    (here / "small.ts").write_text('import "inngest";\n')
    for number in range(6):
        (here / f"{number}-endless.ts").write_text('import { Inngest } from "inngest";\n')
    report = audit(RULES, ["."])
    assert [finding.path for finding in report.findings] == ["small.ts"]
    assert len({mention.path for mention in report.unclassified}) == 6
    assert set(reasons(report).values()) == {
        "took longer than 0.1 s of the processor",
        "its tree takes longer than 0 s of the processor",
    }


def test_a_tree_with_more_mentions_than_anybody_reads_is_named_by_its_files(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is not listed is named."""
    monkeypatch.setattr(reading, "MAX_PLACES", 10)
    for number in range(5):
        (here / f"{number}.sql").write_text("inngest\n" * 6)
    report = audit(RULES, ["."])
    assert len(report.unclassified) + len(report.exempted) == 12
    reason = "not listed: its tree has more than 10 findings and mentions"
    assert reasons(report) == {f"{number}.sql": reason for number in (2, 3, 4)}


def test_fixes_of_a_file_that_takes_too_long_are_left_out(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is named, and the others are fixed."""
    for name in ("a.md", "endless.md", "z.md"):
        (here / name).write_text("The Inngest event bus carries it.\n")
    report = audit(RULES, ["."])
    monkeypatch.setattr(reading, "FILE_SECONDS", 0.1)
    hostile(monkeypatch, "endless.md", in_a_library)
    planned = plan(Scanner(RULES), report.findings, unsafe=False)
    assert [change.path for change in planned.changes] == ["a.md", "z.md"]
    reason = "not fixed: took longer than 0.7 s of the processor"
    assert planned.problems == (FileProblem(path="endless.md", reason=reason),)


def test_a_past_file_that_takes_too_long_is_a_problem_of_its_commits(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The burndown goes on."""
    monkeypatch.setattr(reading, "FILE_SECONDS", 0.2)
    hostile(monkeypatch, "endless.ts", in_a_library)
    for name in ("a.ts", "endless.ts", "z.ts"):
        (here / name).write_text('import "inngest";\n')
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@example.org"]
    for words in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "a"]):
        subprocess.run([*git, *words], cwd=here, check=True)
    (point,) = burndown(RULES, ".")
    assert (point.findings, point.problems) == (2, 1)


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


@pytest.mark.parametrize(
    ("path", "start", "piece"),
    [
        *(("a.sql", "", text) for text in ("inngest.", "inngest/", "inngest", "a.inngest@")),
        ("a.sql", "", '"inngest",'),
        ("a.json", '{"a": [', '{"b": "inngest"},'),
        ("a.ts", 'import "inngest";', "inngest.send();"),
    ],
)
def test_mentions_on_one_line_are_judged_in_linear_time(
    here: Path, path: str, start: str, piece: str
) -> None:
    """So many mentions take a small part of the bound; in the square of it they exceed it."""
    (here / path).write_text(start + piece * 40_000)
    report = audit(RULES, ["."])
    assert report.findings or report.unclassified or report.exempted
    assert not any("longer" in reason for reason in reasons(report).values())
