"""The journey of the demo to the vendor's own server, as a user takes it."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from turnout_demo.plant import plant

pytestmark = [pytest.mark.real, pytest.mark.timeout(400)]

TURNOUT = str(Path(sys.executable).parent / "turnout")
RUNS = 3


def test_a_service_moves_here_and_back(tmp_path: Path) -> None:
    """Every pair matches, nothing is lost or doubled, and a planted fault is found."""
    code, report = _reported("demo", "--to", "restate", "--runs", str(RUNS), "--out", str(tmp_path))
    assert (code, report["verdict"]) == (0, "PASS"), report
    assert report["matched"] == report["pairs"] >= RUNS
    ledger = report["ledger"]
    assert ledger["emitted"] == ledger["completed"]
    assert (ledger["lost"], ledger["doubled"]) == (0, 0)
    assert ledger["by_provider"]["restate"] > 0

    copy = tmp_path / "planted"
    shutil.copytree(tmp_path / "artifacts", copy)
    run_id = plant("output", copy)
    code, report = _reported("parity", "check", "--store", str(copy))
    assert (code, report["verdict"]) == (1, "FAIL")
    assert run_id in {difference["run_id"] for difference in report["differences"]}


def _reported(*arguments: str) -> tuple[int, dict[str, Any]]:
    """Run a command; its exit code and its one object."""
    command = [TURNOUT, *arguments, "--json"]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.stdout, done.stderr[-2000:]
    return done.returncode, json.loads(done.stdout)
