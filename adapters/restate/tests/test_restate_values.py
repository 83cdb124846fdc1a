"""What the adapter decides without a server: settings, states, and what is told to the vendor."""

import contextlib
import signal
from dataclasses import replace
from typing import Any

import pytest
import restate
from restate.exceptions import RetryableError
from turnout_restate.api import RestateApi, Row
from turnout_restate.schedules import ScheduleObject, Schedules
from turnout_restate.serving import application
from turnout_restate.settings import MOUNT, read_settings
from turnout_restate.statuses import STATUSES, state_of

import turnout
from turnout import Schedule
from turnout.errors import (
    InvalidPayload,
    InvalidSettings,
    LaptopSetting,
    ProviderUnavailable,
    Superseded,
    TurnoutError,
    Unavailable,
    UnknownTask,
    UnmappedStatus,
)
from turnout.model.protocol import Tick
from turnout.model.status import RunStatus
from turnout.ports.caller import Surroundings
from turnout.service.clock import SystemClock

SERVER = {
    "RESTATE_INGRESS_URL": "http://127.0.0.1:8080",
    "RESTATE_ADMIN_URL": "http://127.0.0.1:9070/",
}
SERVICE = "http://127.0.0.1:8000"
KEY = "publickeyv1_w7YHemBctH5Ck2nQRQ47iBBqhNHy4FV7t2Usbye2A6f"


def test_settings_name_both_apis_and_where_the_server_reaches_us() -> None:
    """A server on this machine needs no token and no key."""
    settings = read_settings(SERVER, SERVICE + "/")
    assert settings.admin == "http://127.0.0.1:9070"
    assert settings.served_at == SERVICE + MOUNT
    assert (settings.token, settings.identity_keys) == (None, ())


def test_all_faults_are_named_at_once() -> None:
    """A user in an address would be shown; a key of another kind lets nobody in."""
    environ = {
        "RESTATE_INGRESS_URL": "http://me:secret@127.0.0.1:8080",
        "RESTATE_IDENTITY_KEYS": "signkey-abc",
    }
    with pytest.raises(InvalidSettings) as refused:
        read_settings(environ, None)
    text = str(refused.value)
    for name in ("INGRESS_URL", "ADMIN_URL", "IDENTITY_KEYS", "TURNOUT_SERVICE_URL"):
        assert name in text
    assert "secret" not in text


def test_outside_of_development_only_servers_with_keys_may_call() -> None:
    """Without them anyone who reaches the service could call it."""
    with pytest.raises(LaptopSetting, match="RESTATE_IDENTITY_KEYS"):
        read_settings(SERVER, SERVICE, deployed=True)
    environ = {**SERVER, "RESTATE_IDENTITY_KEYS": f" {KEY} ,"}
    assert read_settings(environ, SERVICE, deployed=True).identity_keys == (KEY,)


@pytest.mark.parametrize(
    ("row", "state"),
    [
        ({"status": "suspended"}, RunStatus.RUNNING),
        ({"status": "paused"}, RunStatus.RUNNING),
        ({"status": "scheduled"}, RunStatus.QUEUED),
        ({"status": "ready"}, RunStatus.QUEUED),
        ({"status": "ready", "running_at": "2026-11-29T01:20:15.890Z"}, RunStatus.RUNNING),
        ({"status": "completed", "completion_result": "success"}, RunStatus.COMPLETED),
        (
            {
                "status": "completed",
                "completion_result": "failure",
                "completion_failure": "[500] ValueError: 409 cancelled",
            },
            RunStatus.FAILED,
        ),
        (
            {
                "status": "completed",
                "completion_result": "failure",
                "completion_failure": "[409] cancelled",
            },
            RunStatus.CANCELLED,
        ),
    ],
)
def test_states_are_those_of_the_table(row: dict[str, str], state: RunStatus) -> None:
    """Every word has one state."""
    assert state_of(row) is state


def test_an_unknown_word_is_an_error() -> None:
    """A word of a later version is never guessed at."""
    with pytest.raises(UnmappedStatus, match="hibernating"):
        state_of({"status": "hibernating"})
    assert all(word == word.lower() for word in STATUSES)


async def test_the_process_keeps_its_handler_of_signals() -> None:
    """The SDK takes SIGTERM over at its first request; then nothing would stop the service."""
    surroundings = Surroundings(
        settings={}, app=turnout.app("signals"), worker=_NoWorker(), clock=SystemClock()
    )
    served = application(surroundings, read_settings(SERVER, SERVICE))
    before = signal.signal(signal.SIGTERM, _stop)
    try:
        for _ in range(2):
            assert await _get(served, "/health") == 200
            assert signal.getsignal(signal.SIGTERM) is _stop
    finally:
        signal.signal(signal.SIGTERM, before)


def _stop(*_: object) -> None:
    """Be a process's own handler."""


class _NoWorker:
    async def answer(self, call: Any) -> Any:
        raise AssertionError(call)


async def _get(served: Any, path: str) -> int:
    messages: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        messages.append(message)

    await served({"type": "http", "path": path, "headers": [], "method": "GET"}, receive, send)
    return int(messages[0]["status"])


@pytest.mark.parametrize(
    ("error", "repeats"),
    [
        (Superseded(), False),
        (InvalidPayload("no such field"), False),
        (UnknownTask(), False),
        (Unavailable("the store is away"), True),
    ],
)
async def test_a_slot_that_cannot_be_started_does_not_block_its_schedule(
    error: TurnoutError, repeats: bool
) -> None:
    """Only what may succeed later is tried again: all calls of a schedule wait for it."""
    surroundings = Surroundings(
        settings={}, app=turnout.app("ticks"), worker=_Failing(error), clock=SystemClock()
    )
    claim = ScheduleObject(surroundings, restate.InvocationRetryPolicy())._claim
    tick = Tick(schedule="hourly", slot=0, provider="restate", provider_run_id="inv_1")
    with pytest.raises(RetryableError) if repeats else contextlib.nullcontext():
        await claim(tick)


async def test_a_schedule_that_cannot_be_armed_keeps_no_other_from_it() -> None:
    """Each is tried, and the error is raised at the end."""
    armed = []

    async def invoke(path: str, _body: Any) -> None:
        if "/first/" in path:
            raise ProviderUnavailable("its object is busy")
        armed.append(path)

    schedules = Schedules(_NoRows(), invoke, turnout.app("arms"))
    hourly = Schedule(id="first", task="task", cron="0 * * * *")
    with pytest.raises(ProviderUnavailable, match="busy"):
        await schedules.arm([hourly, replace(hourly, id="second")])
    assert armed == ["/turnout.arms.schedules/second/arm"]


class _NoRows(RestateApi):
    """A server whose tables are empty."""

    def __init__(self) -> None:
        """Talk to nobody."""

    async def query(self, _sql: str) -> list[Row]:
        """Find nothing."""
        return []


class _Failing:
    """A worker that answers with an error."""

    def __init__(self, error: TurnoutError) -> None:
        self._error = error

    async def answer(self, _call: Any) -> Any:
        """Fail."""
        raise self._error
