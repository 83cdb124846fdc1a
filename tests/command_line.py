"""The command line as a process, and a folder with a small app for it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

TURNOUT = str(Path(sys.executable).with_name("turnout"))

HELLO = """
from turnout import app, task

@task("count", on="text/received")
async def count(ctx, payload):
    return 1

words = app("words", count)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with an app."""
    (tmp_path / "hello.py").write_text(HELLO)
    return tmp_path


def surroundings() -> dict[str, str]:
    """Make an environment without settings of ours."""
    prefixes = ("TURNOUT_", "ORCHESTRATOR_")
    foreign = {name: value for name, value in os.environ.items() if not name.startswith(prefixes)}
    return {**foreign, "NO_COLOR": "1", "COLUMNS": "80"}


def turnout(folder: Path, *arguments: str, **environ: str) -> "subprocess.CompletedProcess[str]":
    """Run a command to its end."""
    return subprocess.run(
        [TURNOUT, *arguments],
        cwd=folder,
        env={**surroundings(), **environ},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
