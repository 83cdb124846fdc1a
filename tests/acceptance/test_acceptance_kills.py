"""The adapter that is printed on its page keeps all that it knows in its process: it is killed."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.architecture import pages

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(300)]

KILLED = """
from turnout_testing.kills.contract import KillContract

class TestCourierKills(KillContract):
    backend = "courier"
"""


def test_the_printed_adapter_goes_on_after_a_kill(tmp_path: Path) -> None:
    """Its service is killed in mid-step and while runs are parked; nothing is lost or doubled."""
    pages.write_adapter(tmp_path)
    (tmp_path / "test_courier_kills.py").write_text(KILLED)
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "test_courier_kills.py",
    ]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "5 passed, 5 skipped" in done.stdout
