"""Applications register their functions; addresses given at the start are asked to."""

import asyncio
import logging
import uuid

from starlette.requests import Request
from starlette.responses import Response

from turnout_inngest_double import ids, signing
from turnout_inngest_double.app_reader import read_app
from turnout_inngest_double.engine import Engine
from turnout_inngest_double.errors import RefusedBySync
from turnout_inngest_double.http_client import NoAnswer
from turnout_inngest_double.replies import BadBody, engine_of, json_of, reply

logger = logging.getLogger(__name__)


async def post_register(request: Request) -> Response:
    """Replace the app's functions by those of the body, all or none."""
    engine = engine_of(request)
    try:
        body = await json_of(request)
    except BadBody as error:
        return reply({"error": str(error), "status": 400}, 400)
    if isinstance(body, dict):
        # The vendor's server reads names of fields in any case; its TypeScript SDK sends `appName`.
        body = {"appname" if name.lower() == "appname" else name: body[name] for name in body}
    if not isinstance(body, dict) or not isinstance(body.get("appname"), str):
        return reply({"error": "no appname", "status": 400}, 400)
    try:
        app = read_app(body, request.headers.get("x-inngest-sdk", ""), engine.clock.now())
    except RefusedBySync as error:
        logger.warning("sync refused: %s", error, extra={"action": "sync"})
        engine.note_refusal(body["appname"], str(error))
        problem = {"error": "At least one function is invalid", "data": None, "status": 400}
        return reply(problem, 400)
    modified = engine.register(app)
    await engine.store.settled()
    return reply(
        {
            "ok": True,
            "modified": modified,
            "sync_id": str(uuid.uuid4()),
            "app_id": ids.name_uuid(app.id),
        }
    )


async def poll(engine: Engine) -> None:
    """Ask the given addresses to register, again and again: they may start after us."""
    while engine.options.sdk_urls:
        for url in engine.options.sdk_urls:
            await ask_to_register(engine, url)
        await asyncio.sleep(engine.options.poll_interval_s)


async def ask_to_register(engine: Engine, url: str) -> bool:
    """Send the address the PUT that makes it register; whether it answered well."""
    headers = {"x-inngest-server-kind": engine.options.kind, "User-Agent": "Inngest"}
    if engine.options.signing_key:
        headers["x-inngest-signature"] = signing.request_signature(
            engine.options.signing_key, b"", engine.clock.now()
        )
    try:
        answer = await engine.http.send("PUT", url, headers, b"", 30.0)
    except NoAnswer as error:
        logger.debug("no application at %s: %s", url, error, extra={"action": "sync"})
        return False
    return answer.status == 200  # noqa: PLR2004 - OK
