"""Reads runs of Trigger.dev over HTTP."""

BASE = "https://api.trigger.dev"
WAITING = {"FROZEN", "WAITING"}
# "REATTEMPTING" went with version 3


async def batch(http, task, items):
    return await http.post(f"{BASE}/api/v1/tasks/{task}/batch", json={"items": items})
