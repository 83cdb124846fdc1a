"""The tasks whose processes are killed; bodies write what they do into a ledger, a file of lines.

The service is a process of its own: `turnout serve turnout_testing.kills.tasks:service`.
"""

import json
import os
import time
from pathlib import Path
from typing import Any, Final

from turnout import Concurrency, Context, Retries, app, task

LEDGER: Final = "KILLS_LEDGER"
"""The variable that names the ledger's folder; no setting of a service."""
LONGEST: Final = 300.0
"""Seconds after which a body that waits for its release gives up."""


def note(name: str, label: str) -> int:
    """Write down that a body did something; returns how often that was written of it."""
    line = json.dumps([name, label]) + "\n"
    file = os.open(_folder() / "lines", os.O_APPEND | os.O_CREAT | os.O_WRONLY, 0o600)
    try:
        os.write(file, line.encode())
    finally:
        os.close(file)
    return count(_folder(), name, label)


def count(folder: Path, name: str, label: str) -> int:
    """Count how often a label was written of a name."""
    lines = folder / "lines"
    if not lines.exists():
        return 0
    return sum(json.loads(line) == [name, label] for line in lines.read_text().splitlines())


def release(folder: Path, name: str) -> None:
    """Let the body that waits under this name go on."""
    (folder / f"{name}.released").touch()


def work(name: str) -> str:
    """Begin, wait for the release, and end."""
    note(name, "work begins")
    until = time.monotonic() + LONGEST
    while not (_folder() / f"{name}.released").exists():
        if time.monotonic() > until:
            raise TimeoutError(name)
        time.sleep(0.02)
    note(name, "work ends")
    return name


def _folder() -> Path:
    return Path(os.environ[LEDGER])


_OFTEN: Final = Retries(max_attempts=5, min_delay="50ms", max_delay="200ms")


@task("kills-plain", on="kills/plain")
async def plain(ctx: Context, payload: dict[str, Any]) -> str:
    """Do one step."""
    await ctx.step("only", note, payload["id"], "only")
    return "done"


@task("kills-work", on="kills/work", retries=_OFTEN)
async def working(ctx: Context, payload: dict[str, Any]) -> str:
    """Do a step that waits for its release, between two that do not."""
    await ctx.step("before", note, payload["id"], "before")
    await ctx.step("work", work, payload["id"])
    await ctx.step("after", note, payload["id"], "after")
    return "done"


@task(
    "kills-line",
    on="kills/line",
    retries=_OFTEN,
    concurrency=Concurrency(limit=1, key="payload.key"),
)
async def line(ctx: Context, payload: dict[str, Any]) -> str:
    """Do the same, one run of a key at a time."""
    await ctx.step("work", work, payload["id"])
    return "done"


@task("kills-wait", on="kills/wait")
async def waiting(ctx: Context, payload: dict[str, Any]) -> str:
    """Wait for an event, between two steps."""
    await ctx.step("before", note, payload["id"], "before")
    event = await ctx.wait_for_event("kills/go", match={"payload.id": payload["id"]}, timeout="10m")
    await ctx.step("after", note, payload["id"], "after")
    return "timed out" if event is None else "done"


@task("kills-sleep", on="kills/sleep")
async def sleeping(ctx: Context, payload: dict[str, Any]) -> str:
    """Sleep, between two steps."""
    await ctx.step("before", note, payload["id"], "before")
    await ctx.sleep("nap", payload["nap"])
    await ctx.step("after", note, payload["id"], "after")
    return "done"


service = app("kills", plain, working, line, waiting, sleeping)
