"""The step protocol's client: messages are signed, and sent again until they are answered."""

import asyncio
import logging
import random
import time
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import orjson
from standardwebhooks.webhooks import Webhook

from turnout_triggerdev_double.standin.http_client import HttpAnswer, HttpClient, NoResponse

STEP_PATH = "/turnout/v1/step"
FIRST_DELAY = 0.1
LONGEST_DELAY = 10.0
LARGEST_MESSAGE = 1024 * 1024
MAX_SERVER_ERRORS = 10
SHORTEST_ASKED, LONGEST_ASKED = 0.05, 60.0
REDIRECTS = range(300, 400)
PATIENCE = 5
"""After so many answers of `later`, a warning is logged."""
CONFLICT, UPGRADE = 409, 426
RETRIED = frozenset({429, 503})


log = logging.getLogger("turnout_triggerdev_double.standin")


class EndQuietly(Exception):
    """The run is superseded, cancelled or finished: end without running anything."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class ServiceRefused(Exception):
    """The service will not talk to this worker: fail this vendor attempt."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message


class StepService:
    """One service, and the keys that sign the messages to it."""

    def __init__(self, http: HttpClient, keys: Sequence[str]) -> None:
        self._http = http
        self._signers = [Webhook(key) for key in keys]

    async def say(self, message: dict[str, Any], *, seconds: float = 60.0) -> dict[str, Any]:
        """Send the message until it is answered, and return the answer.

        Raises EndQuietly and ServiceRefused.
        """
        body = orjson.dumps(message)
        if len(body) > LARGEST_MESSAGE:
            raise ServiceRefused("too_large", "the message is larger than the protocol allows")
        attempt, server_errors, warned = 0, 0, False
        while True:
            wait: float | None = None
            try:
                answer = await self._send(body, seconds)
            except NoResponse as error:
                reason = str(error)
            else:
                if answer.status < 300:  # noqa: PLR2004 all 2xx
                    return dict(answer.fields())
                server_errors += answer.status >= 500 and answer.status not in RETRIED  # noqa: PLR2004
                wait = _wait_or_raise(answer, server_errors)
                later = not server_errors and attempt < PATIENCE
                reason = "" if later else f"status {answer.status}"
            if reason and not warned:
                warned = True
                about = {"action": str(message.get("op")), "error": reason}
                log.warning("the service does not answer; asking on", extra=about)
            await asyncio.sleep(_delay(attempt) if wait is None else wait)
            attempt += 1

    async def once(self, message: dict[str, Any]) -> HttpAnswer:
        """Send the message once and return any answer. Raises NoResponse."""
        return await self._send(orjson.dumps(message), 10.0)

    async def hint(self, message: dict[str, Any]) -> None:
        """Send the message once, and ignore what becomes of it."""
        try:
            await self._send(orjson.dumps(message), 5.0)
        except NoResponse:
            return

    async def _send(self, body: bytes, seconds: float) -> HttpAnswer:
        return await self._http.request(
            "POST", STEP_PATH, body, headers=self._signed(body), seconds=seconds
        )

    def _signed(self, body: bytes) -> dict[str, str]:
        """Headers of one sending: an id, the time, a signature by every key."""
        name = f"msg_{uuid.uuid4().hex}"
        now = datetime.fromtimestamp(int(time.time()), UTC)
        text = body.decode()
        signatures = " ".join(signer.sign(name, now, text) for signer in self._signers)
        return {
            "webhook-id": name,
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": signatures,
        }


def _wait_or_raise(answer: HttpAnswer, server_errors: int) -> float | None:
    """The pause that the service asks for, in seconds, or None; raises for a final answer."""
    fields = answer.fields()
    code, message = str(fields.get("code") or answer.status), str(fields.get("message") or "")
    if answer.status == CONFLICT:
        raise EndQuietly(code)
    if answer.status in RETRIED:
        pause_ms = fields.get("retry_after_ms")
        if not isinstance(pause_ms, int) or pause_ms <= 0:
            return None
        return min(max(pause_ms / 1000, SHORTEST_ASKED), LONGEST_ASKED)
    if answer.status in REDIRECTS:
        raise ServiceRefused(
            "redirected",
            "the service's address leads elsewhere, and signed messages follow nowhere;"
            " set TURNOUT_SERVICE_URL to where the service itself is",
        )
    if answer.status == UPGRADE:
        raise ServiceRefused("definition_mismatch", message or "another definition or protocol")
    if server_errors > MAX_SERVER_ERRORS or answer.status < 500:  # noqa: PLR2004 not the server's fault
        raise ServiceRefused(code, message or f"the service answered {answer.status}")
    return None


def _delay(attempt: int) -> float:
    longest: float = min(LONGEST_DELAY, FIRST_DELAY * 2 ** min(attempt, 10))
    return longest * (0.5 + random.random() / 2)  # noqa: S311 only spreads callers
