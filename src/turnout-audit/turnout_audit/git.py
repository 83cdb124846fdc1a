"""What git says of a repository; it is only read, and nothing that it configures is started."""

import os
import subprocess
from pathlib import Path

from turnout_audit.errors import WrongArguments

TIMEOUT = 120.0
SAFE = ("-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null", "-c", "core.quotePath=off")
"""A repository that is only read must not be able to start a program."""


def output(folder: str, *arguments: str, content: bytes | None = None) -> bytes:
    """Run git in a folder; raises WrongArguments with what git says where it fails."""
    try:
        return _run(folder, *arguments, content=content)
    except subprocess.CalledProcessError as error:
        reasons = error.stderr.decode("utf-8", "replace").strip().splitlines()
        reason = reasons[-1] if reasons else f"exit code {error.returncode}"
        raise WrongArguments(f"git in {folder}: {reason}") from error


def stage(path: Path) -> None:
    """Add a file to the next commit, in the index that a hook is given; raises WrongArguments."""
    command = ["git", *SAFE, "add", "--", str(path)]
    added = subprocess.run(command, capture_output=True, text=True, check=False, timeout=TIMEOUT)  # noqa: S603 -- no shell
    if added.returncode:
        raise WrongArguments(f"git add {path}: {added.stderr.strip()}")


def without_filters(folder: str) -> list[str]:
    """Return the options that turn off the programs through which git would read files.

    A program that the repository itself names must not start; so none of them does.
    """
    configured = output(folder, "config", "--null", "--name-only", "--list").split(b"\0")
    keys = sorted({os.fsdecode(key) for key in configured if key.startswith(b"filter.")})
    if any("=" in key for key in keys):  # git would turn off another one
        raise WrongArguments(f"git in {folder}: a filter has `=` in its name")
    return [word for key in keys for word in ("-c", f"{key}=")]


def ignores(path: str) -> bool:
    """Say whether ignore files name a path that is not tracked; no where git cannot say."""
    above, _, name = path.rpartition("/")
    try:
        _run(above or "/", "check-ignore", "--quiet", "--", name)
    except (subprocess.CalledProcessError, WrongArguments):
        return False
    return True


def _run(folder: str, *arguments: str, content: bytes | None = None) -> bytes:
    command = ["git", "-C", folder, "--no-optional-locks", *SAFE, *arguments]
    # in a hook, git's own variables name another repository, or another index
    environment = {name: value for name, value in os.environ.items() if name[:4] != "GIT_"}
    try:
        return subprocess.run(  # noqa: S603 -- no shell
            command,
            input=content,
            capture_output=True,
            timeout=TIMEOUT,
            check=True,
            env=environment,
        ).stdout
    except FileNotFoundError as error:
        raise WrongArguments("git is not on the PATH") from error
    except subprocess.TimeoutExpired as error:
        raise WrongArguments(f"git took longer than {TIMEOUT:.0f} s in {folder}") from error
