"""An inventory lists what goes on by itself, and an empty list is no proof that nothing does."""

import json
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from turnout_cutover.commands.inventory import _write
from turnout_cutover.inventory import differences, kind_of, read_document, read_inventory
from turnout_testing.conformance.run_store_values import emission, new_run

from tests.operated_service import T0, Service
from turnout.errors import ProviderUnavailable, WrongUse
from turnout.model.providers import Sighting
from turnout.model.runs import Run
from turnout.model.schedules import ArmedSchedule
from turnout.model.status import ParkReason, RunStatus

NIGHTLY = ArmedSchedule(id="nightly", task="report", cron="0 3 * * *", zone="UTC", active=True)


class Vendor:
    """A provider with schedules, open vendor runs, and a history."""

    list_lag = 0

    def __init__(self, *schedules: ArmedSchedule, history: int = 0) -> None:
        self.schedules = list(schedules)
        self.history = history

    async def armed(self) -> list[ArmedSchedule]:
        """Read the schedules back."""
        return self.schedules

    async def list_runs(self, *, since: int | None = None, cursor: str = "") -> Any:
        """Nothing is open; the history has so many."""
        assert cursor == ""
        count = 0 if since is None else self.history
        ended = Sighting(state=RunStatus.COMPLETED, word="w", seen_at=T0)
        return {f"v{number}": ended for number in range(count)}, ""


def live(service: Service, **callers: Vendor) -> Any:
    """As much of a service as an inventory reads."""

    async def to_arm(_provider: str) -> list[ArmedSchedule]:
        return [NIGHTLY]

    return SimpleNamespace(
        store=service.store, callers=callers, slots=SimpleNamespace(to_arm=to_arm)
    )


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({}, "queued"),
        ({"due_at": T0 + 60_000}, "delayed"),
        ({"state": RunStatus.RUNNING}, "running"),
        ({"state": RunStatus.RUNNING, "parked": True, "parked_for": ("sleep",)}, "sleep"),
        ({"state": RunStatus.RUNNING, "parked": True, "parked_for": ("sleep", "event")}, "e+s"),
    ],
)
def test_a_run_is_of_the_kind_of_what_it_waits_for(changes: dict[str, Any], kind: str) -> None:
    """Its start, its work, or what ends its wait."""
    if "parked_for" in changes:
        changes = {**changes, "parked_for": tuple(map(ParkReason, changes["parked_for"]))}
    expected = {"e+s": "event+sleep"}.get(kind, kind)
    assert kind_of(new_run(**changes), T0 + 1) == expected


async def emitted(service: Service, *runs: Run) -> None:
    """Have runs in the run store."""
    await service.store.events.emit([emission(run) for run in runs])


async def test_what_is_armed_is_listed_with_what_can_be_emitted_again(
    service: Service, tmp_path: Path
) -> None:
    """Schedules as the provider has them, runs with event and payload; saved, it reads the same."""
    await emitted(
        service,
        new_run("r1", "order", provider="acme", payload=b'{"a":1}', due_at=T0 + 9_000_000),
        new_run("r2", "order", provider="bolt"),
    )
    inventory = await read_inventory(
        live(service, acme=Vendor(NIGHTLY)), "acme", from_store=False, now=T0
    )
    assert inventory.counts == {"delayed": 1, "schedule": 1}
    schedule, run = inventory.armed
    assert (schedule.key, schedule.source) == ("nightly", "provider")
    assert (run.key, run.event, run.payload, run.source) == ("r1", "e", {"a": 1}, "run store")
    path = tmp_path / "armed.json"
    _write(path, inventory)
    assert path.stat().st_mode & 0o077 == 0
    saved = read_document(path)
    assert [asdict(item) for item in saved.armed] == [asdict(item) for item in inventory.armed]
    with pytest.raises(FileExistsError):
        _write(path, inventory)


async def test_an_empty_provider_must_show_that_it_was_used(service: Service) -> None:
    """Four reminders were once lost to a list that was read from a new server."""
    with pytest.raises(ProviderUnavailable, match="is it the server that was used"):
        await read_inventory(live(service, acme=Vendor()), "acme", from_store=False, now=T0)
    used = live(service, acme=Vendor(history=3))
    assert (await read_inventory(used, "acme", from_store=False, now=T0)).armed == []


async def test_a_provider_that_is_not_set_up_cannot_be_read(service: Service) -> None:
    """The run store alone is read for a reason only, and the inventory says so."""
    with pytest.raises(ProviderUnavailable, match="acme is not set up here"):
        await read_inventory(live(service), "acme", from_store=False, now=T0)
    alone = await read_inventory(live(service), "acme", from_store=True, now=T0)
    assert (alone.live, [item.source for item in alone.armed]) == (False, ["run store"])


async def test_what_became_of_a_saved_inventory_is_said_thing_by_thing(
    service: Service, tmp_path: Path
) -> None:
    """A schedule is armed somewhere, a run is open or has ended; whatever is neither is lost."""
    await emitted(service, new_run("r1", "order", provider="acme"))
    before = live(service, acme=Vendor(NIGHTLY))
    saved = await read_inventory(before, "acme", from_store=False, now=T0)
    moved = await differences(live(service, acme=Vendor(), bolt=Vendor(NIGHTLY)), saved)
    assert [(result.text, result.lost) for result in moved] == [
        ("armed at bolt", False),
        ("queued at acme", False),
    ]
    document = {**saved.document(), "armed": [{**asdict(saved.armed[1]), "key": "nobody"}]}
    path = tmp_path / "armed.json"
    path.write_text(json.dumps(document))
    forgotten = read_document(path)
    gone = await differences(live(service, acme=Vendor(), bolt=Vendor()), saved)
    assert [result.lost for result in gone] == [True, False]
    (unknown,) = await differences(live(service, acme=Vendor()), forgotten)
    assert (unknown.lost, unknown.text) == (True, "unknown to the run store")


@pytest.mark.parametrize(
    "text",
    [
        "nonsense",
        "[]",
        '{"turnout": "inventory@1"}',
        '{"turnout": "inventory@2", "provider": "acme", "read_at": "", "live": true, "armed": []}',
        '{"turnout": "inventory@1", "provider": "acme", "read_at": "", "live": true, "armed": [3]}',
    ],
)
def test_a_file_that_is_no_inventory_is_refused(text: str, tmp_path: Path) -> None:
    """It says where it is wrong."""
    path = tmp_path / "armed.json"
    path.write_text(text)
    with pytest.raises(WrongUse, match=r"armed\.json is no saved inventory: at "):
        read_document(path)
