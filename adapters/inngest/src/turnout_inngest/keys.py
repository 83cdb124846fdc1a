"""Keys for the vendor's server: how they are sent, and which of ours it accepts."""

import hashlib
import re
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from http import HTTPStatus
from typing import Final
from urllib.parse import quote

import httpx

from turnout.model.providers import Notice
from turnout_inngest.settings import InngestSettings

PREFIX: Final = re.compile(r"signkey-[\w-]+-")


def bearer(key: str) -> str:
    """Write the signing key as the vendor's SDK does: its digest, never itself."""
    return "Bearer " + hashlib.sha256(bytes.fromhex(PREFIX.sub("", key))).hexdigest()


class Accepted(StrEnum):
    """Whether the server accepts a key."""

    YES = "yes"
    NO = "no"
    UNKNOWN = "unknown"
    """The server did not say."""


@dataclass(frozen=True, kw_only=True)
class KeyRing:
    """Which keys the server accepts; None where we have no such key."""

    signing: Accepted | None
    fallback: Accepted | None
    event: Accepted | None


async def try_keys(http: httpx.AsyncClient, settings: InngestSettings) -> KeyRing:
    """Ask the server with each key by itself; no event is sent."""

    async def signed(key: str | None) -> Accepted | None:
        if key is None:
            return None
        return await _judged(
            lambda: http.get(
                f"{settings.api}/v2/apps",
                params={"limit": "1"},
                headers={"authorization": bearer(key)},
            )
        )

    event = None
    if settings.event_key is not None:
        url = f"{settings.events}/e/{quote(settings.event_key, safe='')}"
        event = await _judged(lambda: http.post(url, json=[]))
    return KeyRing(
        signing=await signed(settings.signing_key),
        fallback=await signed(settings.signing_key_fallback),
        event=event,
    )


def key_notices(ring: KeyRing) -> Iterator[Notice]:
    """Describe how far a key rotation has come, and which key is out of date."""
    if ring.event is Accepted.NO:
        yield Notice(
            text="the server does not accept INNGEST_EVENT_KEY: no run can be handed over",
            fix="add the key at the server (--event-key), or set the one that it has",
        )
    match ring.signing, ring.fallback:
        case Accepted.NO, Accepted.YES:
            yield Notice(
                text="keys are being rotated: the server still has the old one"
                " (INNGEST_SIGNING_KEY_FALLBACK)",
                fix="restart the server with the new --signing-key",
            )
        case Accepted.YES, Accepted.YES | Accepted.NO:
            yield Notice(
                text="the server has the new signing key, and INNGEST_SIGNING_KEY_FALLBACK is"
                " still set",
                fix="once every replica has the new key, unset INNGEST_SIGNING_KEY_FALLBACK",
            )
        case Accepted.NO, Accepted.NO | None:
            yield Notice(
                text="the server accepts neither INNGEST_SIGNING_KEY nor a fallback of it",
                fix="set INNGEST_SIGNING_KEY to the server's --signing-key",
            )
        case _:
            pass


async def _judged(request: Callable[[], Awaitable[httpx.Response]]) -> Accepted:
    try:
        answer = await request()
    except httpx.HTTPError:
        return Accepted.UNKNOWN
    if answer.status_code in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
        return Accepted.NO
    return Accepted.YES if answer.is_success else Accepted.UNKNOWN
