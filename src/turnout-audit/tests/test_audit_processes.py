"""Scanning on several processes: every answer comes back."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from turnout_audit import engine, processes, reading
from turnout_audit.errors import AuditError
from turnout_audit.load import parse

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
    monkeypatch.setattr(reading, "PAYS", 0)
    return tmp_path


@pytest.mark.parametrize("at_risk", [0.0, 100.0])
def test_answers_are_those_of_one_process(
    tree: Path, monkeypatch: pytest.MonkeyPatch, at_risk: float
) -> None:
    """Whether results are sent one by one or all at once, and also without any process."""
    monkeypatch.setattr(processes, "AT_RISK", at_risk)
    report = engine.audit(RULES, ["."], processes=3)
    assert len(report.findings) == 21
    assert report == engine.audit(RULES, ["."], processes=1)
    monkeypatch.setattr(processes, "can_fork", lambda: False)
    monkeypatch.setattr(reading.time, "process_time", lambda: 1_000.0)  # spent before this audit
    assert report == engine.audit(RULES, ["."])


def test_a_machine_that_starts_no_process_is_an_error_of_one_line(
    tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was started before is ended."""

    def refused() -> int:
        raise OSError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(os, "fork", refused)
    with pytest.raises(AuditError, match="no process can be started: Resource temporarily"):
        engine.audit(RULES, ["."])


INTERRUPTED = """
import select, signal, sys
from turnout_audit import engine
from turnout_audit.load import load
from turnout_audit.scan import Scanner

def wait(*_):
    print("scanning", flush=True)
    select.select([], [], [])

Scanner.scan = wait
signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background ignores it
try:
    engine.audit(load("inngest"), [sys.argv[1]])
except KeyboardInterrupt:
    print("interrupted")
"""


def test_no_process_outlives_an_audit_that_is_interrupted(tmp_path: Path) -> None:
    """Its output is closed by all that held it."""
    (tmp_path / "a.ts").write_text('import "inngest";\n')
    with subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED, str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "scanning\n"
        process.send_signal(2)
        assert process.stdout.read() == "interrupted\n"
