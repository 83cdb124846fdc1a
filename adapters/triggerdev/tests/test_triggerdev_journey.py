"""Runs through the server, the stand-in and a scripted service, over real sockets."""

from typing import Any


async def test_a_run_goes_from_trigger_through_its_steps_to_completed(rig: Any) -> None:
    """A delivered run is advanced, its steps are executed in turn, and the vendor run completes."""
    rig.peer.run("r1", ("steps", "load"), ("steps", "store"))
    run = await rig.api.ended(await rig.api.deliver("r1"))
    assert run["status"] == "COMPLETED"
    assert run["output"] == {"turnout": 1, "run_id": "r1", "sha256": "f" * 64}
    assert rig.peer.ops("r1") == ["advance", "execute", "execute"]
