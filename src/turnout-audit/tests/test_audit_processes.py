"""Scanning on several processes: every answer comes back, whatever becomes of a process."""

import os
import signal
from collections.abc import Iterable
from pathlib import Path

import pytest
from turnout_audit import engine
from turnout_audit.load import parse
from turnout_audit.scan import Scanner

RULES = parse(
    'ruleset = "acme"\nversion = "1"\ntitle = "Acme"\nmarkers = ["acme"]\n[[rule]]\nid = "word"\n'
    'why = "w"\nlevel = "warn"\nscope = "code"\nmatch = { text = "acme" }\n',
    source="x",
)


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Files that are worth several processes."""
    for number in range(6):
        (tmp_path / f"{number}.ts").write_text("acme\n" * (number + 1) + "x\n" * 50_000)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(engine, "PAYS", 0)
    return tmp_path


def test_answers_are_those_of_one_process(tree: Path) -> None:
    """Also large ones."""
    report = engine.audit(RULES, ["."], processes=3)
    assert report == engine.audit(RULES, ["."], processes=1)
    assert len(report.findings) == 21


def test_work_of_a_killed_process_is_done_again(
    tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is lost when a process is killed, for want of memory for example."""
    parent, scan_files = os.getpid(), engine.scan_files

    def killed(scanner: Scanner, paths: Iterable[str]) -> engine.Share:
        if os.getpid() != parent:
            os.kill(os.getpid(), signal.SIGKILL)
        return scan_files(scanner, paths)

    monkeypatch.setattr(engine, "scan_files", killed)
    assert len(engine.audit(RULES, ["."], processes=2).findings) == 21


def test_what_goes_wrong_there_is_raised_here(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With its own error, not as silence."""
    parent = os.getpid()

    def broken(scanner: Scanner, paths: Iterable[str]) -> engine.Share:
        if os.getpid() != parent:
            raise ValueError("two")
        return engine.Share()

    monkeypatch.setattr(engine, "scan_files", broken)
    with pytest.raises(ValueError, match="two"):
        engine.audit(RULES, ["."], processes=2)
