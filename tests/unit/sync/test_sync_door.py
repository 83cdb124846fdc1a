"""The door for code that is not async: one loop in one thread, no twins."""

import json
import os
import signal
import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import django
import flask
import pytest
from django.conf import settings
from django.http import HttpRequest, JsonResponse
from django.test import Client
from django.urls import path

from turnout import App, Context, Event, Schedule, SyncDoor, sync_door, task
from turnout.errors import InvalidPayload, InvalidSettings, UnknownRun, WrongUse
from turnout.model.status import RunStatus


@task("greet", on="greeted")
async def greet(ctx: Context, payload: dict[str, str]) -> str:
    """Greet by name."""
    return await ctx.step("say", lambda: f"Hello, {payload['name']}")


APP = App(name="door", tasks=(greet,))


@pytest.fixture
def door(tmp_path: Path) -> Iterator[SyncDoor]:
    """A door on a run store of its own, whose thread also does the work."""
    environ = {
        "ORCHESTRATOR_PROVIDER": "local",
        "TURNOUT_DATABASE_URL": f"sqlite:///{tmp_path}/run-store.db",
        "TURNOUT_ARTIFACTS": "none",
    }
    with sync_door(APP, environ, serve=True) as opened:
        yield opened


def ended(door: SyncDoor, run_id: str) -> Any:
    """Wait for the end of a run; its result."""
    until = time.monotonic() + 30
    while time.monotonic() < until:
        run = door.status(run_id).journal.run
        if run.state.terminal:
            assert run.state is RunStatus.COMPLETED
            return json.loads(run.result or b"null")
        time.sleep(0.02)
    raise AssertionError(f"{run_id} did not end")


def test_a_door_that_was_forked_says_so(door: SyncDoor) -> None:
    """In the child each call is refused at once, and closing leaves the parent's door as it is."""
    child = os.fork()
    if child == 0:
        signal.alarm(20)
        try:
            for call in (lambda: door.emit(Event(name="greeted")), lambda: door.status("r")):
                with pytest.raises(WrongUse, match="opened in another process"):
                    call()
            door.close()
            os._exit(0)
        finally:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    assert status == 0
    (emitted,) = door.emit(Event(name="greeted", payload={"name": "Ada"}))
    assert ended(door, emitted.runs[0].run_id) == "Hello, Ada"


def test_a_script_emits_and_waits(door: SyncDoor) -> None:
    """Plain code emits, reads the status, and gets the same errors as async code."""
    (emitted,) = door.emit(Event(name="greeted", payload={"name": "Ada"}))
    assert ended(door, emitted.runs[0].run_id) == "Hello, Ada"
    with pytest.raises(InvalidPayload):
        door.emit(Event(name="greeted", payload={"name": 3}))
    with pytest.raises(UnknownRun):
        door.cancel("no-such-run")


def test_schedules_and_cancel_by_the_door(door: SyncDoor) -> None:
    """Schedules are added, and delayed runs cancelled, without a loop of one's own."""
    door.schedule_recurring(
        Schedule(id="yearly", task="greet", cron="0 0 1 1 *", payload={"name": "Eve"})
    )
    (emitted,) = door.emit(Event(name="greeted", payload={"name": "Ada"}, key="once"))
    again = door.emit(Event(name="greeted", payload={"name": "Ada"}, key="once"))[0]
    assert again.runs[0].duplicate
    ended(door, emitted.runs[0].run_id)
    assert not door.cancel(emitted.runs[0].run_id).changed


def test_a_flask_view_emits(door: SyncDoor) -> None:
    """A view of Flask emits in its own thread."""
    api = flask.Flask("door")

    @api.post("/greet/<name>")
    def view(name: str) -> dict[str, str]:
        (emitted,) = door.emit(Event(name="greeted", payload={"name": name}))
        return {"run_id": emitted.runs[0].run_id}

    answer = api.test_client().post("/greet/Flask")
    assert ended(door, answer.get_json()["run_id"]) == "Hello, Flask"


def test_a_django_view_emits(door: SyncDoor) -> None:
    """A view of Django emits in its own thread."""

    def view(_request: HttpRequest, name: str) -> JsonResponse:
        (emitted,) = door.emit(Event(name="greeted", payload={"name": name}))
        return JsonResponse({"run_id": emitted.runs[0].run_id})

    if not settings.configured:
        settings.configure(
            ROOT_URLCONF=__name__, ALLOWED_HOSTS=["testserver"], SECRET_KEY="test", MIDDLEWARE=[]
        )
        django.setup()
    urlpatterns[:] = [path("greet/<str:name>", view)]
    answer = Client().post("/greet/Django")
    assert ended(door, answer.json()["run_id"]) == "Hello, Django"


def test_a_rolled_back_transaction_leaves_nothing(door: SyncDoor, tmp_path: Path) -> None:
    """An emit in the caller's own transaction is there if, and only if, it commits."""
    database = sqlite3.connect(tmp_path / "run-store.db", check_same_thread=False)
    database.isolation_level = None
    database.execute("BEGIN IMMEDIATE")
    (emitted,) = door.emit(Event(name="greeted", payload={"name": "Nobody"}), connection=database)
    database.rollback()
    database.close()
    with pytest.raises(UnknownRun):
        door.status(emitted.runs[0].run_id)


def test_a_door_that_cannot_be_opened_leaves_no_thread(door: SyncDoor) -> None:
    """Another app is refused the run store, and may be opened on its own in the same process."""
    before = threading.active_count()
    with pytest.raises(InvalidSettings, match="belongs to the app 'door'"):
        sync_door(App(name="other", tasks=(greet,)), door.turnout.settings.raw)
    assert threading.active_count() == before


urlpatterns: list[Any] = []
