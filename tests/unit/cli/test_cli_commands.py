"""Commands say in one line what is wrong, and print what scripts can read."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

TURNOUT = str(Path(sys.executable).with_name("turnout"))
HELLO = """
from turnout import app, task

@task("count", on="text/received")
async def count(ctx, payload):
    return 1

words = app("words", count)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with an app."""
    (tmp_path / "hello.py").write_text(HELLO)
    return tmp_path


@pytest.fixture
def taken() -> Iterator[int]:
    """A port that somebody listens on."""
    with closing(socket.socket()) as held:
        held.bind(("127.0.0.1", 0))
        held.listen()
        yield held.getsockname()[1]


def turnout(folder: Path, *arguments: str, **environ: str) -> "subprocess.CompletedProcess[str]":
    """Run a command to its end."""
    ours = ("TURNOUT_", "ORCHESTRATOR_", "INNGEST_", "TRIGGER_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    return subprocess.run(
        [TURNOUT, *arguments],
        cwd=folder,
        env={**kept, "NO_COLOR": "1", "COLUMNS": "80", **environ},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_an_event_that_nobody_subscribes_to_is_recorded_with_a_warning(folder: Path) -> None:
    """Exit 0, the result alone on stdout, and the event that may have been meant."""
    done = turnout(folder, "emit", "text/recieved", "--app", "hello:words", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["runs"] == []
    assert "did you mean text/received?" in done.stderr
    right = turnout(folder, "emit", "text/received", "--app", "hello:words", "--json")
    assert right.stderr == ""


def test_a_list_that_is_piped_has_a_line_for_each_run(folder: Path) -> None:
    """No borders, no wrapped ids, however narrow the terminal was."""
    app = ("--app", "hello:words")
    told = turnout(folder, "emit", "text/received", *app, "--json", "--payload", '{"a": "b"}')
    run_id = json.loads(told.stdout)["runs"][0]["run_id"]
    title, head, row = turnout(folder, "runs", "list", *app).stdout.splitlines()
    assert title == "# 1 run(s)"
    assert head.split()[:2] == ["run", "task"]
    assert row.split()[:4] == [run_id, "count", "local", "queued"]
    shown = turnout(folder, "runs", "show", run_id, *app)
    assert '{"a":"b"}' in shown.stdout


def test_taken_ports_are_refused_with_the_option(folder: Path, taken: int) -> None:
    """Neither the servers nor the service say that they are up on another's port."""
    dev = turnout(folder, "dev", f"--inngest-port={taken}")
    assert (dev.returncode, dev.stdout) == (2, "")
    assert f"port {taken} is in use; choose another: --inngest-port N" in dev.stderr
    serve = turnout(folder, "serve", "hello:words", "--port", str(taken))
    assert (serve.returncode, serve.stdout) == (2, "")
    assert f"port {taken} is in use; choose another: --port" in serve.stderr


def test_the_program_tells_its_version_and_near_commands(folder: Path) -> None:
    """`-h` is help everywhere."""
    assert turnout(folder, "--version").stdout.startswith("turnout ")
    assert "Commands" in turnout(folder, "-h").stdout
    assert "--payload" in turnout(folder, "emit", "-h").stdout
    assert "did you mean 'emit'?" in " ".join(turnout(folder, "emti").stderr.split())


@pytest.mark.parametrize(
    ("environ", "word"),
    [
        ({"ORCHESTRATOR_PROVIDER": "inngest"}, "turnout dev --app hello:words"),
        ({"TURNOUT_ARTIFACTS": "hello.py"}, "TURNOUT_ARTIFACTS"),
        ({"TURNOUT_LEASE": "soon"}, "settings"),
        ({}, "turnout work hello:words"),
    ],
)
def test_the_doctor_names_the_fix_of_the_first_fault(
    environ: dict[str, str], word: str, folder: Path
) -> None:
    """Every failing check carries a fix, and the first one is what to do next."""
    done = turnout(folder, "doctor", "--app", "hello:words", "--json", **environ)
    told = json.loads(done.stdout)
    failed = [each for each in told["checks"] if each["health"] == "fail"]
    assert all(each["fix"] for each in failed)
    assert not failed or told["next"] == failed[0]["fix"]
    assert word in told["next"] or any(word in each["text"] for each in failed)


def test_a_demo_that_cannot_write_names_its_option(folder: Path) -> None:
    """What the system refuses is one line."""
    done = turnout(folder, "demo", "--out", "hello.py/below")
    assert (done.returncode, done.stdout) == (2, "")
    assert "--out" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_ended_run_is_followed_to_its_end(folder: Path) -> None:
    """One object a line with --json, ids to go on from, and 1 for a run that did not complete."""
    emitted = turnout(folder, "emit", "text/received", "--app", "hello:words", "--json")
    (ref,) = json.loads(emitted.stdout)["runs"]
    assert turnout(folder, "runs", "cancel", ref["run_id"], "--app", "hello:words").returncode == 0
    follow = ("runs", "follow", ref["run_id"], "--app", "hello:words")
    done = turnout(folder, *follow, "--json")
    last = json.loads(done.stdout.splitlines()[-1])
    assert (done.returncode, last["event"], last["state"]) == (1, "status", "cancelled")
    assert "status   cancelled" in turnout(folder, *follow).stdout
    assert turnout(folder, *follow, "--after", last["id"]).stdout == ""
    wrong = turnout(folder, *follow, "--after", "soon")
    assert (wrong.returncode, "not the id of an event" in wrong.stderr) == (2, True)
