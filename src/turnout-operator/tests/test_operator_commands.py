"""The operators' commands: what they print, their exit codes, and the fix that they name."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.command_line import surroundings, turnout

pytestmark = pytest.mark.usefixtures("made_up_adapters")


REFUSE = """
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


def refuse_an_event(folder: Path) -> None:
    """Let a door refuse an event, which is kept."""
    subprocess.run([sys.executable, "-c", REFUSE], cwd=folder, env=surroundings(), check=True)


def test_dead_letters_are_listed_and_emitted_again(folder: Path) -> None:
    """Exit 2 where none is named, or one that is not there; the doctor counts those that are."""
    refuse_an_event(folder)
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


def test_dead_letters_are_dropped_with_a_reason(folder: Path) -> None:
    """No app is needed, and the reason is listed; exit 2, and none is dropped, for a wrong id."""
    refuse_an_event(folder)
    (letter,) = json.loads(turnout(folder, "deadletters", "list", "--json").stdout)["letters"]
    wrong = ("deadletters", "drop", letter["letter"], "nothing", "--reason", "a test")
    refused = turnout(folder, *wrong)
    assert (refused.returncode, "no dead letter nothing" in refused.stderr) == (2, True)
    dropped = turnout(folder, "deadletters", "drop", "--all", "--reason", "a test")
    assert dropped.stdout.splitlines()[0] == "1 letter(s) dropped", dropped.stderr
    listed = json.loads(turnout(folder, "deadletters", "list", "--dropped", "--json").stdout)
    assert [row["dropped"] for row in listed["letters"]] == ["a test"]


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


def test_runs_are_listed_by_what_is_known_of_them(folder: Path) -> None:
    """By tag, user, task, state, time and error, a page at a time."""
    emit = ("emit", "text/received", "--app", "hello:words", "--json")
    for user, tags in (("u1", "red"), ("u2", "red"), ("u1", "blue")):
        assert turnout(folder, *emit, "--user", user, "--tag", tags).returncode == 0

    def listed(*options: str) -> tuple[list[str], int | None]:
        """Give each run's user and tag, and the cursor."""
        done = turnout(folder, "runs", "list", "--json", *options)
        assert done.returncode == 0, done.stderr
        page = json.loads(done.stdout)
        return [f"{run['user_id']} {run['tags'][0]}" for run in page["runs"]], page["next"]

    assert listed("--tag", "red") == (["u2 red", "u1 red"], None)
    assert listed("--tag", "red", "--user", "u1") == (["u1 red"], None)
    assert listed("--tag", "red", "--tag", "blue") == ([], None)
    first, cursor = listed("--limit", "2", "--since", "1h", "--task", "count")
    assert first == ["u1 blue", "u2 red"]
    assert listed("--limit", "2", "--cursor", str(cursor)) == (["u1 red"], None)
    assert listed("--until", "1h", "--state", "queued", "--provider", "local") == ([], None)
    assert listed("--since", "2001-01-01", "--error", "Value") == ([], None)
    page = turnout(folder, "runs", "list", "--limit", "1").stdout
    assert "--cursor" in page
    refused = turnout(folder, "runs", "list", "--since", "yesterday")
    assert refused.returncode == 2
    assert "2026-11-30T08:15" in refused.stderr


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("runs", "list", "--tag", "x\udcff"), r"'x\udcff' is not UTF-8"),
        (("runs", "show", "x\udcff"), r"'x\udcff' is not UTF-8"),
        (("deadletters", "drop", "--all", "--reason", "x\udcff"), r"'x\udcff' is not UTF-8"),
        (("runs", "list", "--cursor", f"{2**63}"), "--cursor"),
    ],
)
def test_an_argument_that_no_store_can_hold_is_refused(
    folder: Path, arguments: tuple[str, ...], text: str
) -> None:
    """Bytes of another encoding, and a number beyond a database's: one line, exit 2."""
    refuse_an_event(folder)
    refused = turnout(folder, *arguments)
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1), refused.stderr
    assert text in refused.stderr


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


def test_a_provider_without_a_remote_worker_has_nothing_to_look_through(folder: Path) -> None:
    """It is said: silence would pass for a look that was taken."""
    done = turnout(folder, "doctor", "--app", "hello:words", "--through-worker", "--json")
    (found,) = (
        each for each in json.loads(done.stdout)["checks"] if each["name"] == "through local"
    )
    assert (found["health"], "nothing to look through" in found["text"]) == ("ok", True)
