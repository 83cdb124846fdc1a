"""`turnout reconcile`: wrong use is refused; forgotten vendor runs are ended by command alone."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from made_up_vendor import LAG, Stage
from turnout_tracking.forgotten import end_forgotten
from turnout_tracking.leaders import open_leaders
from turnout_tracking.model import Resolution
from turnout_tracking.rules import GRACE

from tests.command_line import turnout
from turnout.errors import UnknownProvider, WrongUse
from turnout.model.status import RunStatus
from turnout.stores.sql import open_run_store


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ((), "no provider here lists its runs"),
        (("--once", "--every", "30s"), "not both"),
        (("--provider", "acme"), "no provider 'acme' here lists its runs"),
        (("--end", "v1"), "--reason"),
        (("--end", "v1", "--reason", " "), "--reason"),
        (("--end", "v1", "--reason", "restored", "--every", "30s"), "--end goes with none of"),
        (("--end", "v1", "--reason", "restored"), "not found to be forgotten: v1"),
    ],
)
def test_wrong_use_is_refused_by_name(folder: Path, options: tuple[str, ...], text: str) -> None:
    """Exit 2, and nothing is done."""
    done = turnout(folder, "reconcile", "--app", "hello:words", *options)
    assert (done.returncode, text in done.stderr) == (2, True), done.stderr


async def forgotten(stage: Stage) -> str:
    """Find a vendor run that the store has forgotten, as the leader; gives its id."""
    await stage.lead()
    stamp = stage.stamper.stamp("r9", 1, "t", stage.store_id)
    vendor_id = stage.vendor.start("r9.1", run_id="r9", delivery=1, task="t", **stamp)
    await stage.clock.turn_to(stage.clock.now() + LAG + GRACE)
    await stage.reconcile()
    return vendor_id


async def resign(stage: Stage) -> None:
    """Let another replica lead."""
    assert stage.lease is not None
    await open_leaders(stage.store).resign(stage.lease)


async def test_a_forgotten_vendor_run_is_ended_by_command() -> None:
    """Only one that was found to be forgotten; who asked why is kept with the finding."""
    store = open_run_store("sqlite://")
    stage = Stage(store)
    vendor_id = await forgotten(stage)
    parts: dict[str, Any] = {"store": store, "clock": stage.clock, "replica_id": "two"}
    live: Any = SimpleNamespace(**parts, callers={"acme": stage.vendor})
    asked: dict[str, Any] = {"reason": "restored", "ticket": "T-1", "dry_run": False}
    assert await end_forgotten(live, [vendor_id], **asked) is None
    await resign(stage)
    with pytest.raises(WrongUse):
        await end_forgotten(live, [vendor_id, "v77"], **asked)
    await end_forgotten(live, [vendor_id], **{**asked, "dry_run": True})
    assert stage.vendor.stopped == []
    await end_forgotten(live, [vendor_id], **asked)
    (finding,) = await stage.findings()
    assert finding.resolution is Resolution.STOPPED
    assert (finding.evidence["reason"], finding.evidence["ticket"]) == ("restored", "T-1")
    assert stage.vendor.runs[vendor_id].state is RunStatus.CANCELLED
    await store.close()


async def test_nothing_is_stopped_that_cannot_be_recorded() -> None:
    """A reason in other bytes is recorded without them; a provider that is gone is named."""
    store = open_run_store("sqlite://")
    stage = Stage(store)
    vendor_id = await forgotten(stage)
    await resign(stage)
    live: Any = SimpleNamespace(store=store, clock=stage.clock, replica_id="two", callers={})
    options: dict[str, Any] = {"reason": "x\udcff", "ticket": None, "dry_run": False}
    with pytest.raises(UnknownProvider, match="named acme; nothing was stopped"):
        await end_forgotten(live, [vendor_id], **options)
    live.callers = {"acme": stage.vendor}
    assert await end_forgotten(live, [vendor_id], **options)
    (finding,) = await stage.findings()
    assert finding.evidence["reason"] == "x\N{REPLACEMENT CHARACTER}"
    assert stage.vendor.stopped == [vendor_id]
    await store.close()
