"""Bad input is refused with a word that names the field or the fix; nothing is lost by it."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.faults_commands import cli
from tests.acceptance.faults_rows import rows
from turnout import Concurrency, Event, Retries, app, open_turnout, task
from turnout.errors import InvalidDefinition, InvalidRunId, PolicyRefused, TurnoutError
from turnout.model.status import RunStatus

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(100)]

FAULTS = "tests.acceptance.faults_app:faults"
FUSSY = """
from pydantic import BaseModel
from turnout import Concurrency, app, task

class Order(BaseModel):
    number: int
    lines: list[str]

@task("ship", on="order/placed")
async def ship(ctx, payload: Order):
    return None

@task("queue", on="order/queued", concurrency=Concurrency(limit=1))
async def queue(ctx, payload):
    return None

good = app("good", ship)
limited = app("limited", queue)
twice = lambda: app("twice", ship, ship)
"""


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """A working installation, which each test spoils."""
    (tmp_path / "fussy.py").write_text(FUSSY)
    (tmp_path / "doubled.py").write_text("from fussy import twice\napp = twice()\n")
    return {
        "ORCHESTRATOR_PROVIDER": "local",
        "TURNOUT_DATABASE_URL": f"sqlite:///{tmp_path / 'run-store.db'}",
        "TURNOUT_ARTIFACTS": str(tmp_path / "artifacts"),
        "TURNOUT_APP": "fussy:good",
    }


EMIT = ("emit", "order/placed", "--payload")
CASES: dict[str, tuple[Mapping[str, str], tuple[str, ...], tuple[str, ...]]] = {
    "an unknown provider": (
        {"ORCHESTRATOR_PROVIDER": "nope"},
        ("provider", "show"),
        ("no adapter named 'nope'", "installed:", "acme", "local"),
    ),
    "several wrong settings": (
        {
            "TURNOUT_LEASE": "soon",
            "TURNOUT_ENV": "prod",
            "TURNOUT_SIGNING_KEYS": "hunter2-the-secret",
        },
        (*EMIT, "{}"),
        ("TURNOUT_LEASE", "TURNOUT_ENV", "TURNOUT_SIGNING_KEYS", "whsec_"),
    ),
    "a provider's missing settings": (
        {"ORCHESTRATOR_PROVIDER": "acme", "ACME_KEY": ""},
        (*EMIT, "{}"),
        ("acme needs ACME_URL and ACME_KEY",),
    ),
    "no provider in production": (
        {"ORCHESTRATOR_PROVIDER": "", "TURNOUT_ENV": "production"},
        ("provider", "show"),
        ("ORCHESTRATOR_PROVIDER is not set", "acme", "local"),
    ),
    "a database that is none": (
        {"TURNOUT_DATABASE_URL": "mysql://root:hunter2@db/turnout"},
        (*EMIT, "{}"),
        ("mysql", "sqlite:///path/to/file", "postgresql://"),
    ),
    "a payload that does not fit": (
        {},
        (*EMIT, '{"number": "many", "lines": [1]}'),
        ("'ship'", "payload.number", "payload.lines.0"),
    ),
    "a payload that is not JSON": ({}, (*EMIT, "{'number': 1}"), ("--payload is not JSON",)),
    "a payload file that is not there": (
        {},
        (*EMIT, "@no-such-file.json"),
        ("--payload", "no-such-file.json"),
    ),
    "an event name that is none": ({}, ("emit", "order placed"), ("'order placed'",)),
    "an app that is not there": (
        {"TURNOUT_APP": "fussy:absent"},
        (*EMIT, "{}"),
        ("'fussy:absent'", "absent"),
    ),
    "two tasks with one id": (
        {"TURNOUT_APP": "doubled:app"},
        ("serve",),
        ("app 'twice'", "two tasks with the id 'ship'"),
    ),
    "a policy that the provider refuses": (
        {
            "ORCHESTRATOR_PROVIDER": "acme",
            "ACME_URL": "http://127.0.0.1:1",
            "ACME_KEY": "hunter2",
            "TURNOUT_APP": "fussy:limited",
        },
        ("emit", "order/queued"),
        ("task 'queue'", "concurrency", "acme"),
    ),
    "a run that is not there": ({}, ("runs", "show", "../../etc"), ("../../etc",)),
    "a cancel of a run that is not there": ({}, ("runs", "cancel", "r-dryrun"), ("r-dryrun",)),
    "artifacts of a run id that climbs": ({}, ("runs", "rebuild", "../up"), ("../up",)),
    "a state that is none": ({}, ("runs", "list", "--state", "lost"), ("lost", "timed_out")),
}


@pytest.mark.parametrize("name", CASES)
def test_bad_input_is_named_by_the_command(
    name: str, environ: dict[str, str], tmp_path: Path
) -> None:
    """Exit 2, one line that names the field or the fix, no traceback, no secret."""
    spoilt, arguments, words = CASES[name]
    done = cli(*arguments, environ={**environ, **spoilt}, cwd=tmp_path)
    told = " ".join(done.stderr.split())
    assert done.returncode == 2, told
    assert done.stdout == ""
    assert [word for word in words if word not in told] == [], told
    assert "Traceback" not in told
    assert "hunter2" not in told


def test_nothing_is_lost_by_a_refused_emit(environ: dict[str, str], tmp_path: Path) -> None:
    """What is put right and emitted again with its key starts once."""
    key = ("--key", "order-1", "--json")
    assert cli(*EMIT, '{"number": 1}', *key, environ=environ, cwd=tmp_path).returncode == 2
    right = (*EMIT, '{"number": 1, "lines": []}', *key)
    first, second = (cli(*right, environ=environ, cwd=tmp_path) for _ in range(2))
    assert first.returncode == second.returncode == 0, first.stderr + second.stderr
    told = [json.loads(each.stdout)["runs"][0] for each in (first, second)]
    assert told[0]["run_id"] == told[1]["run_id"]
    assert [each["duplicate"] for each in told] == [False, True]
    assert len(rows(environ["TURNOUT_DATABASE_URL"], "SELECT run_id FROM {runs}")) == 1


@pytest.mark.parametrize("run_id", ["../x", "a/b", "..", "", "r-dryrun", "x" * 200, "a\x00b"])
async def test_a_run_id_is_one_safe_segment(run_id: str, environ: dict[str, str]) -> None:
    """A run id from outside cannot climb out of its folder, nor be taken for a shadow's."""

    @task("t", on="go")
    async def t(ctx: Any, payload: Any) -> None: ...

    async with open_turnout(app("ids", t), environ, serve=False) as live:
        with pytest.raises(InvalidRunId) as raised:
            await live.orchestrator.emit(Event(name="go", run_id=run_id))
        assert await live.store.runs.find(_all()) == []
    assert "run id" in str(raised.value)


async def fine(ctx: Any) -> int:
    """A step's body."""
    return 1


async def one_id_twice(ctx: Any, payload: Any) -> None:
    """Two steps with one id."""
    await ctx.step("load", fine, ctx)
    await ctx.step("load", fine, ctx)


async def numbered(ctx: Any, payload: Any) -> None:
    """A step's id as vendors number repeated ones."""
    await ctx.step("load:2", fine, ctx)


async def foreign(ctx: Any, payload: Any) -> None:
    """An await that is not ctx's."""
    import asyncio

    await ctx.step("load", fine, ctx)
    await asyncio.sleep(0)


async def not_json(ctx: Any, payload: Any) -> None:
    """A result that is not JSON."""
    await ctx.step("load", lambda: {1, 2})


async def in_a_body(ctx: Any, payload: Any) -> None:
    """ctx.* awaited in a step's body."""

    async def body() -> None:
        await ctx.sleep("nap", "1s")

    await ctx.step("load", body)


WRONG = {
    "one-id-twice": (one_id_twice, "DuplicateStep", ("'load'",)),
    "numbered": (numbered, "InvalidDefinition", ("'load:2'", "'load-2'")),
    "foreign": (foreign, "ForeignAwait", ("ctx.", "step")),
    "not-json": (not_json, "StepFailed", ("'load'", "set")),
    "in-a-body": (in_a_body, "StepFailed", ("outside of a replay",)),
}


async def test_a_task_that_cannot_be_replayed_fails_by_name(environ: dict[str, str]) -> None:
    """Its run fails with an error of ours that names the step or the fix; others go on."""
    tasks = [
        task(name, on="go", retries=Retries(max_attempts=1))(function)
        for name, (function, _, _) in WRONG.items()
    ]

    @task("right", on="go")
    async def right(ctx: Any, payload: Any) -> Any:
        return await ctx.step("load", fine, ctx)

    async with open_turnout(app("wrong", *tasks, right), environ) as live:
        (emitted,) = await live.orchestrator.emit(Event(name="go"))
        found = {each.task: await _ended(live, each.run_id) for each in emitted.runs}
    assert found.pop("right").state is RunStatus.COMPLETED
    for name, run in found.items():
        _, error, words = WRONG[name]
        assert run.state is RunStatus.FAILED
        assert run.error.name == error, run.error
        assert [word for word in words if word not in run.error.message] == [], run.error


BEFORE = """
from turnout import app, task

@task("changing", on="go")
async def changing(ctx, payload):
    await ctx.step("load", lambda: 1)
    await ctx.wait_for_event("sign", timeout="1h")

live = app("changing", changing)
"""


async def test_a_changed_step_under_a_running_run_is_named(
    environ: dict[str, str], tmp_path: Path
) -> None:
    """A recorded id that new code asks for as another kind fails the run and says so."""
    environ["TURNOUT_APP"] = "changing:live"
    code = tmp_path / "changing.py"
    code.write_text(BEFORE)
    script = tmp_path / "until.py"
    script.write_text(_UNTIL)
    first = _python(script, environ, tmp_path, "go", "event")
    assert first.returncode == 0, first.stderr
    code.write_text(BEFORE.replace('ctx.step("load", lambda: 1)', 'ctx.sleep("load", "1s")'))
    second = _python(script, environ, tmp_path, "sign", "failed")
    assert second.returncode == 0, second.stderr
    name, message = json.loads(second.stdout)
    assert name == "StepChanged"
    assert "'load'" in message


_UNTIL = """
import asyncio, json, sys, os
from turnout import Event, open_turnout
from turnout.bootstrap.user_code import load_app
from turnout.model.runs import RunFilter

async def main(event, wanted):
    async with open_turnout(load_app(os.environ["TURNOUT_APP"])) as live:
        await live.orchestrator.emit(Event(name=event))
        for _ in range(300):
            (run,) = await live.store.runs.find(RunFilter())
            if run.state == wanted or wanted in run.parked_for:
                break
            await asyncio.sleep(0.1)
        else:
            raise SystemExit(f"{run}")
        if run.error:
            print(json.dumps([run.error.name, run.error.message]))

asyncio.run(main(*sys.argv[1:]))
"""


def _python(script: Path, environ: Mapping[str, str], cwd: Path, *arguments: str) -> Any:
    import subprocess
    import sys

    from tests.acceptance.faults_commands import clean

    return subprocess.run(
        [sys.executable, "-B", str(script), *arguments],
        env=clean(environ),
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


DEFINITIONS: dict[str, tuple[Any, type[TurnoutError], str]] = {
    "a task id with a slash": (lambda: task("a/b")(foreign), InvalidDefinition, "'a/b'"),
    "a task that is not async": (lambda: task("t")(lambda ctx, p: 1), InvalidDefinition, "async"),
    "retries that are none": (lambda: Retries(max_attempts=0), InvalidDefinition, "max_attempts"),
    "a limit of nobody": (lambda: Concurrency(limit=0), InvalidDefinition, "concurrency.limit"),
    "a key that is no path": (
        lambda: Concurrency(limit=1, key="agent"),
        InvalidDefinition,
        "'agent'",
    ),
}


@pytest.mark.parametrize("name", DEFINITIONS)
def test_a_definition_that_cannot_be_is_refused(name: str) -> None:
    """It is refused where it is written, naming the field."""
    define, error, word = DEFINITIONS[name]
    with pytest.raises(error, match=word):
        define()


async def test_someone_elses_adapter_refuses_by_name(
    environ: dict[str, str], made_up_adapters: None
) -> None:
    """An installed adapter is found by its own metadata; its refusal stops the start."""
    environ |= {
        "ORCHESTRATOR_PROVIDER": "acme",
        "ACME_URL": "http://127.0.0.1:1",
        "ACME_KEY": "key",
    }
    limit = Concurrency(limit=1)

    @task("limited", on="go", concurrency=limit)
    async def limited(ctx: Any, payload: Any) -> None: ...

    live = open_turnout(app("acme", limited), environ, serve=False)
    try:
        with pytest.raises(PolicyRefused, match="task 'limited': concurrency: acme"):
            await live.start()
        with pytest.raises(PolicyRefused):
            live.orchestrator.check_concurrency(limit)
    finally:
        await live.close()


def _all() -> Any:
    from turnout.model.runs import RunFilter

    return RunFilter()


async def _ended(live: Any, run_id: str) -> Any:
    import asyncio

    for _ in range(200):
        run = (await live.store.journals.load(run_id)).run
        if run.state.terminal:
            return run
        await asyncio.sleep(0.05)
    raise AssertionError(f"{run_id} does not end: {run}")
