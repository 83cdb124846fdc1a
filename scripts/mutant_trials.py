"""Copies of the tree in which a change is made, checked and taken back."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SLACK = 60.0
"""Seconds that a check may take beyond three times what it takes without a change."""

PYTEST = (
    *("python", "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "--tb=no"),
    *("-c", "pyproject.toml", "--rootdir", ".", "-m", "not acceptance"),
)


@dataclass(frozen=True, kw_only=True)
class Check:
    """What should notice a change: a call of pytest."""

    arguments: tuple[str, ...]

    @property
    def name(self) -> str:
        """The arguments, to be shown."""
        return " ".join(self.arguments)


@dataclass
class Copy:
    """One copy of the tree, with an environment of its own."""

    folder: Path
    _unchanged: dict[Check, tuple[bool, float]] = field(default_factory=dict)

    def judge(self, changes: Mapping[str, str], check: Check) -> tuple[str, str, float]:
        """Say whether the check notices the changed modules, by which test, and the seconds."""
        if check not in self._unchanged:
            began = time.monotonic()
            code, _ = self._run(check, 900.0, write_caches=True)
            self._unchanged[check] = (code == 0, time.monotonic() - began)
        passes, usual = self._unchanged[check]
        if not passes:
            return "broken", check.name, usual
        began = time.monotonic()
        with self._changed(changes):
            code, output = self._run(check, 3 * usual + SLACK)
        seconds = time.monotonic() - began
        if code == 0:
            return "survived", check.name, seconds
        return (
            "noticed",
            _first_failure(output) if code is not None else "it took too long",
            seconds,
        )

    @contextlib.contextmanager
    def _changed(self, changes: Mapping[str, str]) -> Iterator[None]:
        """Change files for a while."""
        originals = {path: (self.folder / path).read_bytes() for path in changes}
        try:
            for path, code in changes.items():
                (self.folder / path).write_text(code)
            yield
        finally:
            for path, content in originals.items():
                (self.folder / path).write_bytes(content)

    def _run(
        self, check: Check, longest: float, *, write_caches: bool = False
    ) -> tuple[int | None, str]:
        """Run a check; None for the exit code where it took too long."""
        environment = os.environ | {
            "PATH": f"{self.folder}/.venv/bin:{os.environ['PATH']}",
            "VIRTUAL_ENV": f"{self.folder}/.venv",
        }  # fmt: skip
        if not write_caches:
            environment["PYTHONDONTWRITEBYTECODE"] = "1"
        process = subprocess.Popen(
            [*PYTEST, *check.arguments], cwd=self.folder, env=environment, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
        try:
            output, _ = process.communicate(timeout=longest)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            return None, ""
        return process.returncode, output


def copies(number: int) -> list[Copy]:
    """Make copies of what git knows and does not ignore, in the place of earlier ones."""
    folders = [ROOT / "build" / "mutants" / f"copy-{index}" for index in range(number)]
    for folder in folders:
        _make(folder)
    return [Copy(folder) for folder in folders]


def _make(folder: Path) -> None:
    """Copy the tree with an environment; compiled code is judged by content, not by time."""
    subprocess.run([ROOT / "scripts" / "copied_tree", folder], check=True)
    git = subprocess.run(
        ["git", "rev-parse", "--absolute-git-dir"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    (folder / ".git").write_text(f"gitdir: {git.stdout}")  # some tests read earlier commits
    compiled = ["-m", "compileall", "-q", "--invalidation-mode", "checked-hash", "src", "adapters"]
    subprocess.run([sys.executable, *compiled], check=False, cwd=folder, stdout=subprocess.DEVNULL)


def _first_failure(output: str) -> str:
    """Give the first test that failed."""
    match = re.search(r"^(?:FAILED|ERROR|SUBFAILED\S*) (\S+)", output, re.MULTILINE)
    return match[1] if match else output.strip().splitlines()[-1] if output.strip() else "no output"
