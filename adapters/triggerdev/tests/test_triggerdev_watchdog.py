"""What becomes of the runs of a stand-in that is killed."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from queue import Empty, Queue
from threading import Thread
from typing import Any

import pytest

STANDIN = """
import sys
from turnout_triggerdev_double.standin.watchdog import Watchdog
watchdog = Watchdog(sys.argv[1], "tr_dev_key")
watchdog.watch(["run_ended", "run_a"])
watchdog.watch(["run_a", "run_b"])
print("works", flush=True)
sys.stdin.readline()
watchdog.close()
"""


@pytest.fixture
def reports() -> Iterator[tuple[str, "Queue[Any]"]]:
    """A server's address, and what is posted to it."""
    posted: Queue[Any] = Queue()

    class Server(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            posted.put((self.path, self.headers["authorization"], json.loads(body)))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = HTTPServer(("127.0.0.1", 0), Server)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", posted
    server.shutdown()
    server.server_close()


def working(url: str) -> "subprocess.Popen[bytes]":
    """Start a process that works on runs, as the leader of a group of its own."""
    command = [sys.executable, "-c", STANDIN, url]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"works\n"
    return process


def test_the_runs_of_a_killed_stand_in_are_reported(reports: tuple[str, "Queue[Any]"]) -> None:
    """By a process that no kill of its group reaches: those that it was working on."""
    url, posted = reports
    with working(url) as process:
        os.killpg(process.pid, signal.SIGKILL)
        expected = {"runFriendlyIds": ["run_a", "run_b"]}
        assert posted.get(timeout=60) == (
            "/engine/v1/dev/disconnect",
            "Bearer tr_dev_key",
            expected,
        )


def test_a_stand_in_that_stops_reports_its_runs_itself(
    reports: tuple[str, "Queue[Any]"],
) -> None:
    """The watchdog ends before it, and posts nothing."""
    url, posted = reports
    with working(url) as process:
        process.communicate(b"\n")
        assert process.returncode == 0
        with pytest.raises(Empty):
            posted.get_nowait()
