"""What an operator should know of the server: who shares it, and which schedules are stuck."""

from collections.abc import Sequence
from typing import Final

from turnout.model.providers import Notice
from turnout.ports.caller import HasRun
from turnout_restate.deployments import Deployments
from turnout_restate.schedules import Schedules
from turnout_restate.vendor_runs import VendorRuns

SAMPLE: Final = 20
"""How many of the newest open invocations are compared with the run store."""
FIX: Final = "give each environment a server, or each app a name, of its own"
FIX_STUCK: Final = (
    "see that the server reaches this service; a call that began at an address that is gone ends"
    " by `restate invocations kill`, and this service then arms its schedule again"
)


async def notices_of(
    deployments: Deployments, runs: VendorRuns, schedules: Schedules, has_run: HasRun
) -> Sequence[Notice]:
    """Compare where new invocations go, and whose runs they carry, with this service.

    A schedule is named whose due call fails again and again: it stays armed, and starts no run.
    """
    notices = []
    if elsewhere := await deployments.newest_elsewhere():
        fix = f"{FIX}; where it has moved here, start this service again"
        text = f"new invocations go to {elsewhere}, which was registered last under this app's name"
        notices.append(Notice(text=text, fix=fix))
    run_ids = await runs.newest_open(SAMPLE)
    foreign = [run_id for run_id in run_ids if not await has_run(run_id)]
    if foreign:
        text = f"{len(foreign)} of the {len(run_ids)} newest open invocations carry runs that are"
        text += f" not in this run store, like {foreign[0]}"
        notices.append(Notice(text=text, fix=FIX))
    if stuck := await schedules.stuck():
        text = (
            f"{len(stuck)} schedule(s) do not fire, like {stuck[0]}: the server repeats their due"
        )
        notices.append(Notice(text=f"{text} calls in vain, or has paused them", fix=FIX_STUCK))
    return notices
