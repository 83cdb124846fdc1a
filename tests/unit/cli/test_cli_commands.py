"""Commands say in one line what is wrong, and print what scripts can read."""

import json
import re
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.command_line import HELLO, TURNOUT, surroundings, turnout

pytestmark = pytest.mark.usefixtures("made_up_adapters")


WAITING = """
from turnout import app, task

@task("ask", on="ask/go")
async def ask(ctx, payload):
    return await ctx.wait_for_event("approval", timeout="1h")

asking = app("asking", ask)
"""


@pytest.fixture
def taken() -> Iterator[int]:
    """A port that somebody listens on."""
    with closing(socket.socket()) as held:
        held.bind(("127.0.0.1", 0))
        held.listen()
        yield held.getsockname()[1]


def test_an_event_that_nobody_subscribes_to_is_recorded_with_a_warning(folder: Path) -> None:
    """Exit 0, the result alone on stdout, and the event that may have been meant."""
    done = turnout(folder, "emit", "text/recieved", "--app", "hello:words", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["runs"] == []
    assert "did you mean text/received?" in done.stderr


def test_an_event_is_emitted_with_labels(folder: Path) -> None:
    """Tags, whom it is for, and metadata; out of bounds, exit 2 and the bound."""
    emit = ("emit", "text/received", "--app", "hello:words", "--json")
    labels = ("--tag", "vip", "--tag", "eu", "--user", "u1", "--metadata", '{"order": 7}')
    done = turnout(folder, *emit, *labels)
    assert done.returncode == 0, done.stderr
    run_id = json.loads(done.stdout)["runs"][0]["run_id"]
    shown = json.loads(turnout(folder, "runs", "show", run_id, "--json").stdout)
    assert (shown["tags"], shown["user_id"], shown["metadata"]) == (
        ["vip", "eu"],
        "u1",
        '{"order":7}',
    )
    assert shown["origin"] == "manual"
    for wrong, bound in (
        (("--tag", "x" * 10_000), "1 to 128"),
        (("--metadata", "[1]"), "a JSON object"),
        (("--metadata", "{"), "--metadata is not JSON"),
    ):
        refused = turnout(folder, *emit, *wrong)
        assert refused.returncode == 2
        assert bound in " ".join(refused.stderr.split())


def test_an_event_that_a_run_waits_for_is_emitted_without_a_warning(folder: Path) -> None:
    """It did what it was sent for, though no task subscribes to it."""
    (folder / "waiting.py").write_text(WAITING)
    settings = {
        "ORCHESTRATOR_PROVIDER": "local",
        "TURNOUT_DATABASE_URL": f"sqlite:///{folder}/w.db",
    }
    begun = turnout(folder, "emit", "ask/go", "--app", "waiting", "--json", **settings)
    run_id = json.loads(begun.stdout)["runs"][0]["run_id"]
    worker = subprocess.Popen(
        [TURNOUT, "work", "waiting"], cwd=folder, env={**surroundings(), **settings}
    )
    try:
        follow = turnout(folder, "runs", "show", run_id, "--app", "waiting", **settings)
        while "approval" not in follow.stdout:
            follow = turnout(folder, "runs", "show", run_id, "--app", "waiting", **settings)
    finally:
        worker.terminate()
        worker.wait()
    done = turnout(folder, "emit", "approval", "--app", "waiting", **settings)
    assert (done.returncode, done.stderr) == (0, "")
    right = turnout(folder, "emit", "text/received", "--app", "hello:words", "--json")
    assert right.stderr == ""


def test_taken_ports_are_refused_with_the_option(folder: Path, taken: int) -> None:
    """Neither the servers nor the service say that they are up on another's port."""
    dev = turnout(folder, "dev", f"--acme-port={taken}")
    assert (dev.returncode, dev.stdout) == (2, "")
    assert f"port {taken} is in use; choose another: --acme-port N" in dev.stderr
    serve = turnout(folder, "serve", "hello:words", "--port", str(taken))
    assert (serve.returncode, serve.stdout) == (2, "")
    assert f"port {taken} is in use; choose another: --port" in serve.stderr


def test_the_program_tells_its_version_and_near_commands(folder: Path) -> None:
    """`-h` is help everywhere."""
    assert turnout(folder, "--version").stdout.startswith("turnout ")
    assert "Commands" in turnout(folder, "-h").stdout
    assert "--payload" in turnout(folder, "emit", "-h").stdout
    assert "did you mean 'emit'?" in " ".join(turnout(folder, "emti").stderr.split())


def test_a_demo_that_cannot_write_names_its_option(folder: Path) -> None:
    """What the system refuses is one line."""
    done = turnout(folder, "demo", "--out", "hello.py/below")
    assert (done.returncode, done.stdout) == (2, "")
    assert "--out" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_payload_that_cannot_be_read_names_the_file_and_the_ways(folder: Path) -> None:
    """No number of the system's, but what to give instead."""
    done = turnout(folder, "emit", "text/received", "--payload", "@nofile", "--app", "hello:words")
    assert (done.returncode, done.stdout) == (2, "")
    assert "nofile: No such file or directory; give JSON, @FILE" in done.stderr
    assert "Errno" not in done.stderr


def test_help_names_the_ports_and_whole_defaults(folder: Path) -> None:
    """What the installed providers add is an option like any other."""
    told = " ".join(turnout(folder, "dev", "--help").stdout.replace("│", " ").split())
    assert "--acme-port N (8299)" in told
    assert "…" not in told.partition("--install")[0]


def test_serving_tells_where_and_how_to_stop(folder: Path) -> None:
    """One line on stderr, once it listens; a module alone is enough where its app is `app`."""
    (folder / "shop.py").write_text(HELLO.replace("words =", "app ="))
    with subprocess.Popen(
        [TURNOUT, "serve", "shop", "--port", "0"],
        cwd=folder,
        env=surroundings(),
        stderr=subprocess.PIPE,
        text=True,
    ) as serving:
        try:
            assert serving.stderr is not None
            line = serving.stderr.readline()
        finally:
            serving.send_signal(signal.SIGINT)
    told = r"serving words \(local\) at http://127\.0\.0\.1:[1-9]\d*; stop with \^C\n"
    assert re.fullmatch(told, line)
    assert serving.returncode == 0


def test_the_services_address_in_a_file_is_not_written_over(folder: Path) -> None:
    """What `serve` takes for its address holds only where nothing names another."""
    (folder / ".env").write_text("TURNOUT_SERVICE_URL=nowhere\n")
    done = turnout(folder, "serve", "hello:words", "--port", "1")
    assert (done.returncode, done.stdout) == (2, "")
    assert "TURNOUT_SERVICE_URL" in done.stderr
