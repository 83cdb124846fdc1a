"""Commands say in one line what is wrong, and print what scripts can read."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

TURNOUT = str(Path(sys.executable).with_name("turnout"))
pytestmark = pytest.mark.usefixtures("made_up_adapters")
HELLO = """
from turnout import app, task

@task("count", on="text/received")
async def count(ctx, payload):
    return 1

words = app("words", count)
"""


WAITING = """
from turnout import app, task

@task("ask", on="ask/go")
async def ask(ctx, payload):
    return await ctx.wait_for_event("approval", timeout="1h")

asking = app("asking", ask)
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


def surroundings() -> dict[str, str]:
    """Make an environment without settings of ours."""
    ours = ("TURNOUT_", "ORCHESTRATOR_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    return {**kept, "NO_COLOR": "1", "COLUMNS": "80"}


def turnout(folder: Path, *arguments: str, **environ: str) -> "subprocess.CompletedProcess[str]":
    """Run a command to its end."""
    return subprocess.run(
        [TURNOUT, *arguments],
        cwd=folder,
        env={**surroundings(), **environ},
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


def test_dead_letters_are_listed_and_emitted_again(folder: Path) -> None:
    """Exit 2 where none is named, or one that is not there; the doctor counts those that are."""
    keep = """
import asyncio, os
from hello import app, count, words
from turnout import Event, open_turnout
from turnout.errors import WrongUse
async def refuse():
    async with open_turnout(words, os.environ, serve=False) as live:
        try:
            event = Event(name="text/received", payload={}, run_id="no/id")
            await live.dead_letters.receive([event])
        except WrongUse:
            pass
asyncio.run(refuse())
"""
    subprocess.run([sys.executable, "-c", keep], cwd=folder, env=surroundings(), check=True)
    command, app = ("deadletters",), ("--app", "hello:words")
    rows = json.loads(turnout(folder, *command, "list", "--json").stdout)
    (letter,) = rows["letters"]
    assert (rows["count"], letter["event"]) == (1, "text/received")
    assert turnout(folder, *command, "emit", *app).returncode == 2
    assert turnout(folder, *command, "emit", "nobody", *app).returncode == 2
    planned = turnout(folder, *command, "emit", "--all", "--dry-run", *app, "--json")
    assert json.loads(planned.stdout)["letters"][0]["emitted_as"] is None
    doctor = turnout(folder, "doctor", *app)
    assert "1 event(s) were refused at a door" in doctor.stdout
    done = turnout(folder, *command, "emit", letter["letter"], *app, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(turnout(folder, *command, "list", "--json").stdout)["count"] == 0


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


@pytest.mark.parametrize(
    ("environ", "word"),
    [
        ({"ORCHESTRATOR_PROVIDER": "acme"}, "turnout dev --app hello:words"),
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
    other = turnout(folder, *follow, "--after", f"{last['id'].rpartition('-')[0]}-00000000")
    assert (other.returncode, "of another run" in other.stderr) == (2, True)


def test_a_cancel_tells_whether_it_cancelled(folder: Path) -> None:
    """Exit 0 for the one that ended the run, 1 for each after it; ids may be in upper case."""
    app = ("--app", "hello:words")
    emitted = turnout(folder, "emit", "text/received", *app, "--json")
    (ref,) = json.loads(emitted.stdout)["runs"]
    first = turnout(folder, "runs", "cancel", ref["run_id"].upper(), *app)
    assert (first.returncode, "cancelled now" in first.stdout) == (0, True)
    again = turnout(folder, "runs", "cancel", ref["run_id"], *app)
    assert (again.returncode, "it had ended before" in again.stdout) == (1, True)


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


def test_a_provider_without_a_remote_worker_has_nothing_to_look_through(folder: Path) -> None:
    """It is said: silence would pass for a look that was taken."""
    done = turnout(folder, "doctor", "--app", "hello:words", "--through-worker", "--json")
    (found,) = (
        each for each in json.loads(done.stdout)["checks"] if each["name"] == "through local"
    )
    assert (found["health"], "nothing to look through" in found["text"]) == ("ok", True)


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
