"""Programs that are run in a clean environment, for a limited time."""

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from turnout_audit.errors import CannotTell

MAX_OUTPUT = 20_000_000
"""Characters of what a program prints that are read."""
INHERITED = ("PATH", "LANG", "LC_ALL", "TMPDIR", "SYSTEMROOT", "SSL_CERT_FILE", "SSL_CERT_DIR")
"""What any program may need to start."""
_INSTALLERS = (
    "PIP_",
    "UV_",
    "NPM_",
    "NODE_EXTRA_CA_CERTS",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
)
"""Beginnings of what says where packages come from; in either case."""


@dataclass(frozen=True, kw_only=True)
class Ended:
    """A program that has ended."""

    code: int
    output: str

    @property
    def last_line(self) -> str:
        """Return the last line that says something."""
        lines = [line.strip() for line in self.output.splitlines() if line.strip()]
        return lines[-1][:300] if lines else f"exit code {self.code}"


def clean_environment(home: Path, variables: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return an environment for the project's own code, with nothing of ours in it."""
    inherited = {name: os.environ[name] for name in INHERITED if name in os.environ}
    return {**inherited, "HOME": str(home), **(variables or {})}


def installing_environment() -> dict[str, str]:
    """Return an environment for a package manager, which finds its own settings."""
    return {
        name: value
        for name, value in os.environ.items()
        if name in (*INHERITED, "HOME") or name.upper().startswith(_INSTALLERS)
    }


def run(
    command: Sequence[str], folder: Path, environment: Mapping[str, str], seconds: float
) -> Ended:
    """Run a program to its end; raises CannotTell where it is missing or takes too long.

    What it has started itself ends with it.
    """
    name = Path(command[0]).name
    try:
        started = subprocess.Popen(  # noqa: S603 -- no shell
            command,
            cwd=folder,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    except OSError as error:
        raise CannotTell(f"{name} cannot be started: {error.strerror or error}") from error
    try:
        output, _ = started.communicate(timeout=seconds)
    except subprocess.TimeoutExpired as error:
        raise CannotTell(f"{name} took longer than {seconds:g} s") from error
    finally:
        _end_all(started)
    return Ended(code=started.returncode, output=output[-MAX_OUTPUT:].decode("utf-8", "replace"))


def _end_all(started: "subprocess.Popen[bytes]") -> None:
    """End the program's group, so that nothing it started stays behind."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(started.pid, signal.SIGKILL)
    started.communicate()
