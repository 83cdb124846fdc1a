"""The HTTP client for calls to applications, thousands a second on one core."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

import aiohttp

IDLE_S = 3.0
"""Connections unused for longer are not reused: servers close theirs after a few seconds."""


class NoAnswer(Exception):
    """The other side could not be reached, or broke off."""


@dataclass(frozen=True, kw_only=True)
class Reply:
    """What an application answered, by HTTP or by socket."""

    status: int
    """The HTTP status."""
    headers: Mapping[str, str]
    """Found by their names in lower case."""
    body: bytes


class ApplicationClient:
    """Sends requests; keeps connections open between them. Create it inside a running loop."""

    def __init__(self) -> None:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=IDLE_S),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None),
        )

    async def send(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes, timeout_s: float
    ) -> Reply:
        """The reply to one request; NoAnswer when there is none in time."""
        request = self._session.request(
            method, url, headers=headers, data=body, allow_redirects=False
        )
        try:
            async with asyncio.timeout(timeout_s), request as response:
                return Reply(
                    status=response.status, headers=response.headers, body=await response.read()
                )
        except TimeoutError as error:
            raise NoAnswer(f"no answer within {timeout_s:g} s") from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise NoAnswer(str(error) or type(error).__name__) from error

    async def close(self) -> None:
        """Close the connections that are kept."""
        await self._session.close()
