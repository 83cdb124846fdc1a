"""Calls the tasks over HTTP."""

import os

import httpx

# Trigger.dev answers 404 for a while
BASE = os.environ.get("TRIGGER_API_URL", "https://api.trigger.dev")
KEY = os.environ["TRIGGER_SECRET_KEY"]
WORDS = os.environ.get("TRIGGER_WORDS", "")


async def trigger(task: str, payload: dict) -> str:
    """Trigger a task of Trigger.dev."""
    async with httpx.AsyncClient(base_url=BASE) as http:
        answer = await http.post(
            f"/api/v1/tasks/{task}/trigger",
            headers={"Authorization": f"Bearer {KEY}", "x-trigger-api-version": "2025-07-16"},
            json={"payload": payload},
        )
    return answer.json()["id"]


def provider(name: str) -> str:
    if name == "triggerdev":
        return "old"
    return f"{name} is no trigger.dev"
