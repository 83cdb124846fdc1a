"""Functions of the official SDK, adopted unchanged: the same code on every provider."""

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import adopted_bound
import adopted_hiding
import adopted_shop
import pytest
from turnout_dev.devserver import NeedsProgram
from turnout_dev.installed import devservers
from turnout_inngest.adoption import adopt
from turnout_testing import run_task
from turnout_testing.backends import open_backend

from turnout import Event
from turnout.errors import InvalidDefinition
from turnout.model.status import RunStatus

HERE = Path(__file__).parent
SHOP = [adopted_shop.order, adopted_shop.told, adopted_shop.doubt]
ORDERED = {"paid": {"paid": 3}, "packed": [{"paid": 3}] * 2, "told": 1, "attempt": 0}


def checked(name: str, *options: str) -> tuple[int, Any, str]:
    """Run `turnout adopt --check … --json`; its exit code, its object, and its stderr."""
    command = [str(Path(sys.executable).with_name("turnout")), "adopt", *options, name, "--json"]
    environ = {**os.environ, "PYTHONPATH": f"{HERE}:{os.environ.get('PYTHONPATH', '')}"}
    done = subprocess.run(command, capture_output=True, check=False, text=True, env=environ)
    return done.returncode, json.loads(done.stdout or "null"), done.stderr


REAL_WORKER = "TURNOUT_REAL_WORKER"
"""Has the tasks run in the worker that a vendor would run, by its unmodified CLI."""
WITH_WORKER = sorted(path.parents[1].name for path in HERE.parents[1].glob("*/scripts/worker"))
MISSING = {
    name: server.missing()
    for name, server in devservers().items()
    if isinstance(server, NeedsProgram)
}
"""By provider whose offline server is a program: what to install first, or nothing."""
PROVIDERS = [
    *(
        pytest.param(
            *(name, {}),
            id=name,
            marks=pytest.mark.skipif(bool(MISSING.get(name)), reason=MISSING.get(name, "")),
        )
        for name in ("local", *devservers())
    ),
    *(
        pytest.param(
            *(name, {REAL_WORKER: "1"}),
            id=f"{name}-real-worker",
            marks=[
                pytest.mark.real,
                pytest.mark.timeout(600),
                pytest.mark.skipif(
                    not os.environ.get(REAL_WORKER),
                    reason=f"set {REAL_WORKER}, and what scripts/worker of the adapter prints",
                ),
            ],
        )
        for name in WITH_WORKER
    ),
]


@pytest.mark.parametrize(("backend", "more"), PROVIDERS)
async def test_the_same_code_runs_on_every_provider(backend: str, more: dict[str, str]) -> None:
    """Ids, steps, outputs, attempts and errors are those of the SDK, whoever calls."""
    app = adopt(adopted_shop.client, SHOP).app()
    async with open_backend(backend, environ={**os.environ, **more}, app=app) as world:
        emitted = await world.orchestrator.emit(
            Event(name="shop/order", payload={"n": 3, "shop": "a"}),
            Event(name="shop/doubt", payload={}),
        )
        first, second = (each.runs[0].run_id for each in emitted)
        async with asyncio.timeout(world.patience):
            while not (await reports(world, first, second))[0]:
                await asyncio.sleep(0.1)
        _, ordered, doubted = await reports(world, first, second)
    assert (ordered.run.state, ordered.run.error) == (RunStatus.COMPLETED, None)
    assert ordered.run.task == "order"
    assert json.loads(ordered.run.result) == ORDERED
    assert {"charge", "nap", "left", "right", "tell"} <= set(ordered.steps)
    assert doubted.run.state is RunStatus.FAILED
    assert doubted.run.error.message == "ValueError: no stock"


async def reports(world: Any, *run_ids: str) -> tuple[bool, Any, Any]:
    """Say whether all ended; their journals."""
    found = [(await world.orchestrator.status(each)).journal for each in run_ids]
    return all(each.run.state.terminal for each in found), found[0], found[1]


def test_a_sync_function_is_a_task_too() -> None:
    """Sync functions run in a thread, their steps in order."""
    (_, told, _) = adopt(adopted_shop.client, SHOP).tasks

    ran = asyncio.run(run_task(told, {"n": 7}))
    assert (ran.state, ran.result, ran.attempts["note"]) == (RunStatus.COMPLETED, 7, 1)


def test_what_cannot_be_kept_is_refused_by_name_and_line() -> None:
    """Each option is named with its place; naming it in `lose` does without."""
    with pytest.raises(InvalidDefinition) as refused:
        adopt(adopted_bound.client, [adopted_bound.hasty])
    for word in ("hasty: throttle", "hasty: debounce", "hasty: trigger", "adopted_bound.py:1"):
        assert word in str(refused.value)
    lost = adopt(
        adopted_bound.client, [adopted_bound.hasty], lose=["throttle", "hasty:debounce", "trigger"]
    )
    assert [each.id for each in lost.tasks] == ["hasty"]


@pytest.mark.parametrize("name", ["throttel", "hasty:throttel", "nope:trigger", "throttle:hasty"])
def test_what_is_done_without_is_there_to_be_done_without(name: str) -> None:
    """A name that is misspelt, or of a function that is not adopted, is refused by name."""
    lose = ["throttle", "debounce", "trigger", name]
    with pytest.raises(InvalidDefinition, match=f"lose names '{name}'.*hasty:throttle"):
        adopt(adopted_bound.client, [adopted_bound.hasty], lose=lose)


def test_the_check_says_what_is_kept() -> None:
    """Nothing lost: exit 0, and a line per function and option with its place."""
    code, said, _ = checked("adopted_shop:client", "--check")
    assert (code, said["functions"], said["refused"]) == (0, 3, 0)
    by_option = {(each["function"], each["option"]): each for each in said["adoptions"]}
    assert by_option["order", "retries"]["kept"] == "kept"
    assert by_option["order", "concurrency"]["kept"] == "kept by Turnout"
    place = by_option["order", "cancel"]
    source = Path(place["file"]).read_text().splitlines()
    assert "cancel=" in source[place["line"] - 1]


def test_the_check_fails_where_something_is_lost() -> None:
    """Exit 1, and why."""
    code, said, _ = checked("adopted_bound:client", "--check")
    refused = {each["option"] for each in said["adoptions"] if each["kept"] == "refused"}
    assert (code, refused) == (1, {"trigger", "throttle", "debounce"})


def test_the_check_looks_into_helpers_and_says_what_it_does_not_see() -> None:
    """Through other names and other functions; what cannot be followed is for you to look at."""
    code, said, _ = checked("adopted_hiding:client", "--check")
    of = {
        (each["function"], each["option"]): each["kept"]
        for each in said["adoptions"]
        if each["option"] not in {"fn_id", "trigger"}
    }
    assert of == {
        ("helped", "wait_for_event if_exp"): "refused",
        ("helped", "step.ai"): "refused",
        ("aliased", "step.ai"): "refused",
        ("shelved", "step.ai"): "refused",
        ("elsewhere", "invoke_by_id app_id"): "refused",
        ("formatted", "wait_for_event if_exp"): "kept by Turnout",
        ("passed", "step.wait_for_event"): "not seen",
        ("kept", "Flow(…)"): "not seen",
        ("closed", "create_function"): "not seen",
    }
    assert (code, said["functions"], said["refused"], said["not_seen"]) == (1, 11, 5, 3)


def test_a_wait_in_a_helper_is_heard() -> None:
    """Its event is let in, as those that the function itself waits for."""
    adopted = adopt(
        adopted_hiding.client,
        [adopted_hiding.helped],
        lose=["step.ai", "wait_for_event if_exp"],
    )
    assert adopted.heard == ("hiding/heard",)


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("adopted_shop:client",), "--check"),
        (("adopted_shop:order", "--check"), "no installed adapter adopts"),
        (("nowhere:client", "--check"), "No module named 'nowhere'"),
    ],
)
def test_wrong_use_is_told_in_a_line(arguments: tuple[str, ...], word: str) -> None:
    """Exit 2, nothing on stdout, one line that says what to do."""
    code, said, told = checked(*arguments)
    assert (code, said) == (2, None)
    assert word in told
    assert "Traceback" not in told
