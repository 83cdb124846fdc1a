"""What is fixed when an event becomes a run."""

from typing import Any

import pytest

from turnout.model.admission import limit_key, new_run
from turnout.model.canonical import canonical_bytes
from turnout.model.events import StoredEvent
from turnout.model.policies import CancelOn, Concurrency, Timeouts
from turnout.model.runs import NewRun, Wait
from turnout.model.status import RunStatus
from turnout.model.tasks import app, task

AT = 1_800_000_000_000


def admitted(payload: Any, *, due_at: int | None = None, **options: Any) -> NewRun:
    """Admit a run of a task with these options."""

    @task("t", on="go", **options)
    async def function(ctx: Any, payload: Any) -> Any:
        return payload

    event = StoredEvent(event_id="e", name="go", payload=canonical_bytes(payload), emitted_at=AT)
    return new_run(app("a", function), function, event, run_id="r", provider="p", due_at=due_at)


def test_a_run_starts_queued_with_its_event() -> None:
    """What a run is stands from its emit on, its definition and code version included."""
    run = admitted({"n": 1}, due_at=AT - 5).run
    assert (run.state, run.event, run.event_id, run.payload) == (
        RunStatus.QUEUED,
        "go",
        "e",
        b'{"n":1}',
    )
    assert (run.due_at, run.deadline_at, run.limit_key) == (AT, None, None)
    assert run.definition
    assert run.code_version


def test_the_queue_deadline_counts_from_the_delayed_start() -> None:
    """A run that may start only later has its time in the queue from then on."""
    new = admitted({}, due_at=AT + 60_000, timeouts=Timeouts(queue="10s"))
    assert new.run.deadline_at == AT + 70_000


@pytest.mark.parametrize(
    ("payload", "key"),
    [
        ({"agent": 7}, "7"),
        ({"agent": "7"}, '"7"'),
        ({"agent": {"b": 1, "a": 2}}, '{"a":2,"b":1}'),
        ({"agent": None}, "null"),
        ({}, "null"),
        ("text", "null"),
    ],
)
def test_the_limit_counts_by_the_value_of_its_key(payload: Any, key: str) -> None:
    """7 and "7" are two keys; what lacks the key counts together."""
    new = admitted(payload, concurrency=Concurrency(limit=1, key="payload.agent"))
    assert (new.run.limit_key, new.slotted) == (key, True)


def test_a_limit_without_a_key_is_the_tasks() -> None:
    """All runs share one key; executing steps do not queue for a run's slot."""
    assert limit_key(Concurrency(limit=1), {"any": 1}) == "null"
    assert not admitted({}, concurrency=Concurrency(limit=1, counts="steps")).slotted


def test_cancel_waits_match_the_runs_own_payload() -> None:
    """The value at the path is taken from the run's payload when it is emitted."""
    new = admitted(
        {"n": 1}, cancel_on=[CancelOn(event="stop", match="payload.n"), CancelOn(event="all")]
    )
    assert new.cancel_on == (
        Wait(run_id="r", step=None, event="stop", match=(("payload.n", b"1"),)),
        Wait(run_id="r", step=None, event="all"),
    )
