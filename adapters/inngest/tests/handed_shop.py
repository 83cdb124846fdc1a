"""A native process that hands its runs over, and is killed at the first, before or after it did.

`python handed_shop.py SERVER PORT FOLDER before|after`
"""

import os
import signal
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import fastapi
import inngest
import inngest.fast_api
import uvicorn
from turnout_inngest.adoption import Adopted, adopt

import turnout
from turnout import Event


def adopted(server: str) -> Adopted:
    """Adopt a function that is never retried."""
    client = inngest.Inngest(
        app_id="handed", is_production=False, api_base_url=server, event_api_base_url=server
    )

    async def order(ctx: inngest.Context) -> None:
        raise AssertionError(f"run {ctx.run_id} is native")

    trigger = inngest.TriggerEvent(event="handed/order")
    return adopt(client, [client.create_function(fn_id="order", retries=0, trigger=trigger)(order)])


def main(server: str, port: str, folder: str, when: str) -> None:
    """Serve until killed."""
    shop, died = adopted(server), Path(folder) / "died"
    live = turnout.open_turnout(shop.app(schedules=False))

    def dies(moment: str) -> None:
        if moment == when and not died.exists():
            died.touch()
            os.kill(os.getpid(), signal.SIGKILL)

    async def emit(events: Sequence[Event]) -> Any:
        dies("before")
        emitted = await live.orchestrator.emit(*events)
        dies("after")
        return emitted

    api = fastapi.FastAPI()
    functions = shop.handover(emit, after=datetime(2026, 1, 1, tzinfo=UTC))
    inngest.fast_api.serve(api, shop.client, functions)
    uvicorn.run(api, port=int(port), log_level="error")


if __name__ == "__main__":
    main(*sys.argv[1:])
