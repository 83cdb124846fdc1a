"""What git says of a repository; it is only read, and nothing that it configures is started."""

import os
import subprocess

from turnout_audit.errors import WrongArguments

TIMEOUT = 120.0
SAFE = ("-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null", "-c", "core.quotePath=off")
"""A repository that is only read must not be able to start a program."""


def output(folder: str, *arguments: str, content: bytes | None = None) -> bytes:
    """Run git in a folder; raises WrongArguments with what git says where it fails."""
    try:
        return _run(folder, *arguments, content=content)
    except subprocess.CalledProcessError as error:
        reason = error.stderr.decode("utf-8", "replace").strip().splitlines()[-1:]
        raise WrongArguments(f"git in {folder}: {' '.join(reason)}") from error


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
