"""Settings, statuses, schedules and policies, without a server."""

from typing import Any

import pytest
from turnout_inngest.functions import _timeouts
from turnout_inngest.schedules import check_schedule, slot_of, trigger_of
from turnout_inngest.settings import read_settings
from turnout_inngest.statuses import STATUSES, state_of, status_of

from turnout import Concurrency, Schedule, Timeouts
from turnout.errors import (
    InvalidSettings,
    LaptopSetting,
    PolicyRefused,
    ProviderUnavailable,
    UnmappedStatus,
)
from turnout.model.policies import Policies
from turnout.model.status import RunStatus

KEY = "signkey-prod-" + "ab" * 16
HERE = "https://agents.example.org"


def test_without_a_setting_it_is_not_set_up() -> None:
    """That is how an installed adapter is told from a used one."""
    with pytest.raises(InvalidSettings, match="not set up"):
        read_settings({"PATH": "/bin"}, HERE)


@pytest.mark.parametrize("dev", ["1", "true", "http://127.0.0.1:8288"])
def test_a_dev_server(dev: str) -> None:
    """INNGEST_DEV is a yes or an address; no keys are needed."""
    found = read_settings({"INNGEST_DEV": dev}, HERE)
    assert (found.api, found.events) == ("http://127.0.0.1:8288",) * 2
    assert not found.production


@pytest.mark.parametrize("dev", ["1", "true", "yes", "http://127.0.0.1:8288", "https://d.example"])
@pytest.mark.parametrize("keys", [{}, {"INNGEST_SIGNING_KEY": KEY, "INNGEST_EVENT_KEY": "e"}])
def test_a_dev_server_is_refused_in_production(dev: str, keys: dict[str, str]) -> None:
    """With or without keys beside it: calls would not be signed."""
    with pytest.raises(LaptopSetting, match=r"INNGEST_DEV: .* anybody can start runs"):
        read_settings({"INNGEST_DEV": dev, **keys}, HERE, deployed=True)
    for off in ("0", "false"):
        signed = {"INNGEST_DEV": off, "INNGEST_SIGNING_KEY": KEY, "INNGEST_EVENT_KEY": "e"}
        assert read_settings(signed, HERE, deployed=True).production


def test_a_server_of_ones_own() -> None:
    """Keys and one address, or both of the two."""
    keys = {"INNGEST_SIGNING_KEY": KEY, "INNGEST_EVENT_KEY": "e"}
    found = read_settings({**keys, "INNGEST_BASE_URL": "https://inn.example.org/"}, HERE)
    assert (found.api, found.events, found.production) == (
        *("https://inn.example.org",) * 2,
        True,
    )
    assert KEY not in repr(found)
    with pytest.raises(InvalidSettings, match="INNGEST_EVENT_API_BASE_URL: is missing"):
        read_settings({**keys, "INNGEST_API_BASE_URL": "https://inn.example.org"}, HERE)
    assert read_settings(keys, HERE).events == "https://inn.gs"


def test_every_fault_is_named_at_once() -> None:
    """And no value of a key is shown."""
    given = {"INNGEST_SIGNING_KEY": "not hex", "INNGEST_BASE_URL": "nowhere"}
    with pytest.raises(InvalidSettings) as raised:
        read_settings(given, None)
    for name in ("SIGNING_KEY", "EVENT_KEY", "BASE_URL", "TURNOUT_SERVICE_URL"):
        assert name in str(raised.value)
    assert "not hex" not in str(raised.value)


@pytest.mark.parametrize(
    "name",
    [
        "INNGEST_DEV",
        "INNGEST_BASE_URL",
        "INNGEST_API_BASE_URL",
        "INNGEST_EVENT_API_BASE_URL",
        "TURNOUT_INNGEST_GATEWAY",
    ],
)
def test_an_address_with_a_user_is_refused(name: str) -> None:
    """Addresses are shown; the refusal does not show the password."""
    scheme = "wss" if name.endswith("GATEWAY") else "https"
    for user in ("u:hunter2", ":hunter2", "hunter2"):
        environ = {"INNGEST_DEV": "1", name: f"{scheme}://{user}@inn.example.org"}
        with pytest.raises(InvalidSettings, match=name) as raised:
            read_settings(environ, HERE)
        assert "hunter2" not in str(raised.value)


def test_the_path_that_is_registered() -> None:
    """A service behind a prefix is called behind it."""
    found = read_settings({"INNGEST_DEV": "1"}, HERE + "/agents/")
    assert found.served_at == "/agents/turnout/inngest/functions"


def test_the_table_of_statuses_is_total() -> None:
    """Every word of the vendor's APIs; any other one is an error."""
    v2 = ("QUEUED", "RUNNING", "COMPLETED", "FAILED", "CANCELLED", "SKIPPED", "WAITING")
    v1 = ("Scheduled", "Running", "Completed", "Failed", "Cancelled", "Skipped", "Overflowed")
    assert {status_of(word) for word in (*v2, *v1)} <= set(RunStatus)
    assert {word.upper() for word in (*v2, *v1)} == set(STATUSES)
    for word in ("Unknown", "TIMED_OUT", ""):
        with pytest.raises(UnmappedStatus):
            status_of(word)


def test_an_end_needs_its_time() -> None:
    """Without it the run still goes on."""
    assert state_of({"status": "FAILED"}) is RunStatus.RUNNING
    assert state_of({"status": "FAILED", "endedAt": "2026-01-01T00:00:00Z"}) is RunStatus.FAILED


@pytest.mark.parametrize(
    "cron", ["* * * * *", "*/7 0-6 1 * *", "0 9 * JAN-MAR MON-FRI", "@daily", "17 7 7 7 0-6/2"]
)
def test_crons_that_both_read_alike(cron: str) -> None:
    """They are written with their zone."""
    schedule = Schedule(id="s", task="job", cron=cron, zone="Europe/Kyiv")
    check_schedule(schedule)
    assert trigger_of(schedule) == f"TZ=Europe/Kyiv {schedule.five_fields}"


@pytest.mark.parametrize("cron", ["0 9 * * 7", "0 9 * * 1-7", "0 9 * * SUN,7", "0 0 */2 * 1"])
def test_crons_that_are_refused(cron: str) -> None:
    """By the schedule's name."""
    with pytest.raises(PolicyRefused, match="'s'"):
        check_schedule(Schedule(id="s", task="job", cron=cron))


def test_a_slot_is_the_nominal_time() -> None:
    """Never when the tick came."""
    payload = {"scheduledAt": "2026-01-01T00:00:00Z", "fireAt": "2026-01-01T00:00:01Z"}
    assert slot_of(payload) == 1_767_225_600_000
    for wrong in ({}, {"scheduledAt": 7}, {"scheduledAt": "soon"}, {"scheduledAt": "2026-01-01"}):
        with pytest.raises(ProviderUnavailable, match="scheduledAt"):
            slot_of(wrong)


@pytest.mark.parametrize(
    ("policies", "start", "finish"),
    [
        (Policies(), None, None),
        (Policies(timeouts=Timeouts(queue="1500ms")), 62_000, None),
        (Policies(timeouts=Timeouts(run="10s")), None, 70_000),
        (Policies(timeouts=Timeouts(run="10s"), concurrency=Concurrency(limit=1)), None, None),
        (
            Policies(timeouts=Timeouts(run="10s", queue="5s"), concurrency=Concurrency(limit=1)),
            65_000,
            75_000,
        ),
    ],
)
def test_timeouts_are_ceilings_in_whole_seconds(
    policies: Policies, start: Any, finish: Any
) -> None:
    """Later than ours; none where a run may wait for its slot without a limit."""
    found = _timeouts(policies)
    assert (found and found.start, found and found.finish) == (start, finish)
