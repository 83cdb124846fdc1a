"""Greets, durably; to restate the obvious is the guide's work."""

import os

import restate
from catalogue import Service

INGRESS = os.environ["RESTATE_INGRESS_URL"]
greeter = restate.Service("greeter")
rooms = Service("restate")


@greeter.handler()
async def greet(ctx: restate.Context, name: str) -> str:
    # import restate here was slower
    return f"Hello, {name}"


app = restate.app([greeter])
