"""A process beside the stand-in that outlives it, and then reports its runs to the server.

The vendor's CLI has one (`packages/cli-v3/src/dev/devWatchdog.ts` of the vendor's public source): a
CLI that is killed says nothing, and a real server would take its runs as executing until it misses
their heartbeats. This one is told the runs through a pipe, which ends with the stand-in.
"""

import json
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterable, Sequence
from contextlib import suppress

PATH = "/engine/v1/dev/disconnect"
ANSWER_TIME = 10.0
"""Seconds in which the server must answer."""


class Watchdog:
    """The process, as the stand-in sees it."""

    def __init__(self, api_url: str, secret_key: str) -> None:
        self._process = subprocess.Popen(  # noqa: S603 - this module itself
            [sys.executable, "-m", __name__],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # so that a kill of the stand-in's group does not reach it
        )
        self._write([api_url.rstrip("/") + PATH, secret_key])

    def watch(self, run_ids: Iterable[str]) -> None:
        """Have these runs reported, and no others, if the stand-in dies."""
        self._write([*run_ids])

    def close(self) -> None:
        """Have nothing reported: the stand-in has done it itself."""
        self._write([])
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._process.wait()

    def _write(self, line: Sequence[str]) -> None:
        if self._process.stdin is not None:
            with suppress(BrokenPipeError):
                self._process.stdin.write(json.dumps(line).encode() + b"\n")
                self._process.stdin.flush()


def main(lines: Iterable[str]) -> None:
    """Read runs until the pipe ends, and report the last ones that were read whole."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    run_ids: list[str] = []
    url = key = ""
    for line in lines:
        with suppress(ValueError):  # the stand-in died while it wrote
            if url:
                run_ids = json.loads(line)
            else:
                url, key = json.loads(line)
    if run_ids:
        report(url, key, run_ids)


def report(url: str, key: str, run_ids: Sequence[str]) -> None:
    """Say that nobody works on these runs; a server that is away finds it out by itself."""
    request = urllib.request.Request(  # noqa: S310 - the address of the settings
        url,
        data=json.dumps({"runFriendlyIds": run_ids}).encode(),
        headers={"authorization": f"Bearer {key}", "content-type": "application/json"},
    )
    with suppress(OSError), urllib.request.urlopen(request, timeout=ANSWER_TIME):  # noqa: S310
        pass


if __name__ == "__main__":
    main(sys.stdin)
