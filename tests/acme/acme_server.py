"""Acme itself: `python acme_server.py PORT KEY SIGNING_KEY`.

A durable caller that imports nothing of Turnout and speaks only the step protocol. It forgets
everything when it dies, so that a run of it that is gone must be delivered again.
"""

import asyncio
import contextlib
import sys
import time
import uuid
from datetime import UTC, datetime
from typing import Any

import httpx
import orjson
import uvicorn
from standardwebhooks.webhooks import Webhook
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route


class Acme:
    """Acme's runs, and its way to call for them."""

    def __init__(self, key: str, signing_key: str) -> None:
        self.key = key
        self.signer = Webhook(signing_key)
        self.http = httpx.AsyncClient(timeout=30, trust_env=False)
        self.states: dict[str, str] = {}
        self.woken: dict[str, asyncio.Event] = {}
        self.tasks: dict[str, asyncio.Task[None]] = {}
        self.defined: list[str] = []

    def start(self, run: dict[str, Any]) -> None:
        """Start a run, unless there is one of its key."""
        key = run["key"]
        if key not in self.states:
            self.states[key] = "waiting"
            self.woken[key] = asyncio.Event()
            self.tasks[key] = asyncio.create_task(self.go(run))

    async def go(self, run: dict[str, Any]) -> None:
        """Call until the run has ended."""
        key = run["key"]
        self.states[key] = "calling"
        said = await self.call(run, op="advance")
        while said is not None and said["state"] in {"queued", "running"}:
            if said["run"]:
                asked = [
                    self.call(run, op="execute", step=each["step"], attempt=each["attempt"])
                    for each in said["run"]
                ]
                answers = [each for each in await asyncio.gather(*asked) if each is not None]
                nexts = [each["next"] for each in answers]
                said = max(nexts, key=lambda each: each["seq"]) if nexts else None
            else:
                said = await self.park(run, said)
        self.states[key] = "done"

    async def park(self, run: dict[str, Any], said: dict[str, Any]) -> dict[str, Any] | None:
        """Wait as told, or for a wake."""
        woken = self.woken[run["key"]]
        woken.clear()
        answer = await self.call(run, op="park", seq=said["seq"], token=run["key"])
        if answer is None:
            return None
        if not answer["go"]:
            found: dict[str, Any] = answer["next"]
            return found
        until = (said["park"] or {}).get("until")
        pause = 60.0 if until is None else max(0.0, until / 1_000 - time.time())
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(woken.wait(), pause)
        return await self.call(run, op="advance")

    async def call(self, run: dict[str, Any], **message: Any) -> dict[str, Any] | None:
        """Call until answered; None when the run is to end quietly."""
        body = {
            "task": run["task"],
            "run_id": run["run_id"],
            "delivery": run["delivery"],
            "provider_run_id": run["key"],
            **message,
        }
        while True:
            try:
                response = await self.http.post(run["url"], **self.signed(body))
            except httpx.HTTPError:
                await asyncio.sleep(0.3)
                continue
            if response.status_code == 200:
                found: dict[str, Any] = response.json()
                return found
            if response.status_code < 500:
                return None
            await asyncio.sleep(0.3)

    def signed(self, message: dict[str, Any]) -> dict[str, Any]:
        """Sign a message, as the step protocol wants it."""
        body, now, name = orjson.dumps(message), datetime.now(UTC), uuid.uuid4().hex
        return {
            "content": body,
            "headers": {
                "webhook-id": name,
                "webhook-timestamp": str(int(now.timestamp())),
                "webhook-signature": self.signer.sign(name, now, body.decode()),
            },
        }

    async def answer(self, request: Request) -> Response:  # noqa: C901 - one case for each route
        """Answer Turnout's adapter."""
        if request.headers.get("authorization") != f"Bearer {self.key}":
            return Response(status_code=401)
        given = orjson.loads(await request.body() or b"null")
        match request.method, request.url.path:
            case "POST", "/runs":
                for run in given:
                    self.start(run)
            case "POST", "/wake":
                for key in given:
                    if key in self.woken:
                        self.woken[key].set()
            case "POST", "/stop":
                if given in self.tasks:
                    self.tasks[given].cancel()
                    self.states[given] = "stopped"
            case "PUT", "/tasks":
                self.defined = given
            case "GET", "/tasks":
                return JSONResponse(self.defined)
            case _:
                key = request.path_params["key"]
                return JSONResponse({"state": self.states.get(key, "unknown")})
        return JSONResponse({})


def main(port: str, key: str, signing_key: str) -> None:
    """Serve."""
    acme = Acme(key, signing_key)
    routes = [
        Route("/runs", acme.answer, methods=["POST"]),
        Route("/runs/{key}", acme.answer),
        Route("/wake", acme.answer, methods=["POST"]),
        Route("/stop", acme.answer, methods=["POST"]),
        Route("/tasks", acme.answer, methods=["GET", "PUT"]),
        Route("/up", lambda _request: Response(status_code=200)),
    ]
    app = Starlette(routes=routes)
    uvicorn.run(app, port=int(port), log_level="warning")


if __name__ == "__main__":
    main(*sys.argv[1:])
