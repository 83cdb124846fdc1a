"""Turnout as it was one version ago, to be run beside today's: for tests of what it left in flight.

Any test may use it, an adapter's too (put the folder of this file on the path):

    environ = previous_environ()                       # or: environ | {"TURNOUT_LEASE": "2s"}
    subprocess.Popen([sys.executable, "-m", "uvicorn", "--factory", "app:service"], env=environ)

A process with this environment imports `turnout` and the adapters of that version; all other
packages are those of this interpreter's environment. So what such a process runs must use only what
both versions offer. The version comes from this repository's history and is installed once, into
`build/`; nothing is downloaded.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

PREVIOUS = "c2311173bc7284ba5c55796a786b533ebfff79d8"
"""The commit of the version before this one."""

REPOSITORY = Path(__file__).parent.parent


def previous_environ() -> dict[str, str]:
    """The environment of a process that runs the previous version.

    Skips the test, saying why, where the repository's history does not reach back to it.
    """
    return {**os.environ, "PYTHONPATH": str(_installed())}


def _installed() -> Path:
    """The folder that holds the previous version; made where it is missing."""
    folder = REPOSITORY / "build" / "previous-version" / PREVIOUS[:12]
    if not folder.exists():
        _require_history()
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent) as temporary:
            _install(Path(temporary) / "source", Path(temporary) / "packages")
            _publish(Path(temporary) / "packages", folder)
    return folder


def _require_history() -> None:
    look = ["git", "cat-file", "-e", f"{PREVIOUS}^{{commit}}"]
    has_git = shutil.which("git") is not None
    if not has_git or subprocess.run(look, cwd=REPOSITORY, check=False).returncode:
        pytest.skip(
            f"commit {PREVIOUS[:12]}, the version before this one, is not in this repository:"
            " clone it with its whole history (git fetch --unshallow)"
        )


def _install(source: Path, packages: Path) -> None:
    """Take the version's files from the history, and install its distributions."""
    source.mkdir()
    archive = subprocess.run(
        ["git", "archive", PREVIOUS, "pyproject.toml", "README.md", "LICENSE", "src", "adapters"],
        cwd=REPOSITORY,
        check=True,
        capture_output=True,
    )
    subprocess.run(["tar", "-x", "-C", str(source)], input=archive.stdout, check=True)
    distributions = [source, *(each.parent for each in source.glob("adapters/*/pyproject.toml"))]
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    offline = ["--no-index", "--no-deps", "--no-build-isolation", "--target", str(packages)]
    subprocess.run([*pip, *offline, *map(str, distributions)], check=True)


def _publish(packages: Path, folder: Path) -> None:
    """Move the finished folder to its place; whoever was quicker has made the same."""
    try:
        packages.rename(folder)
    except OSError:
        if not folder.exists():
            raise
