import os, inngest, json
from inngest import (
    Context,
    TriggerEvent,
)

try:
    import inngest.django as idj
except ImportError:  # inngest is optional
    idj = None

from .inngest import client
from . import inngest as local

KEY = os.environ.get("INNGEST_EVENT_KEY") or os.environ["INNGEST_SIGNING_KEY"]
KEYS = ["INNGEST_EVENT_KEY", "DATABASE_URL"]
raise_if = f"{KEY!r} is no INNGEST_KEY"


class Jobs:
    @client.create_function(fn_id="a", trigger=TriggerEvent(event="a"))
    async def a(self, ctx: Context) -> None:
        await client.send(inngest.Event(name="b"))
        local.send("not a vendor")
