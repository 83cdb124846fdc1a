"""Running `turnout` as a user does: commands to their end, services until they are stopped."""

import base64
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.acme_installed import ACME
from tests.servers import free_port, running

ROOT = Path(__file__).resolve().parents[2]
SIGNING_KEY = "whsec_" + base64.b64encode(b"of the acceptance tests only").decode()


def cli(
    *arguments: str, environ: Mapping[str, str], cwd: Path = ROOT
) -> "subprocess.CompletedProcess[str]":
    """Run a command to its end."""
    return subprocess.run(
        [turnout(), *arguments],
        env=clean(environ),
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@contextmanager
def service(app: str, environ: Mapping[str, str], *, command: Sequence[str] = ()) -> Iterator[str]:
    """Run `turnout serve` until the end; gives its address."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    given = {name: value for name, value in clean(environ).items() if value}
    before = dict(os.environ)
    os.environ.clear()
    os.environ.update(given)
    try:
        with running(
            [turnout(), "serve", app, "--port", str(port), *command], f"{url}/turnout/health"
        ):
            yield url
    finally:
        os.environ.clear()
        os.environ.update(before)


def clean(environ: Mapping[str, str]) -> dict[str, str]:
    """An environment with these settings and nobody else's."""
    kept = {name: value for name, value in os.environ.items() if "TURNOUT" not in name}
    path = f"{ACME}{os.pathsep}{ROOT}"
    return {**kept, "PYTHONPATH": path, "COLUMNS": "250", "NO_COLOR": "1", **environ}


def turnout() -> str:
    """The program beside this interpreter."""
    return str(Path(sys.executable).with_name("turnout"))
