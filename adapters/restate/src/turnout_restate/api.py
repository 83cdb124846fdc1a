"""The vendor's two HTTP APIs: every answer is checked and bounded, and errors are Turnout's own."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Any, Final

import httpx
import orjson

from turnout.errors import ProviderRefused, ProviderUnavailable, WrongUse
from turnout.model.time import Millis, moment
from turnout_restate.settings import RestateSettings

CONNECTIONS: Final = 64
"""Requests to the server at the same time; more would wait in its accept queue."""
LARGEST_ANSWER: Final = 16 * 1024 * 1024
"""Bytes of an answer; a page of invocations has some 200 KB."""
LONGEST_READ: Final = 10.0
LONGEST_REQUEST: Final = 30.0
"""Seconds until the server says something more, and until it has said all."""

Row = Mapping[str, Any]
"""An object of an answer; in a query's row, a column without a value is absent."""


class NotRegistered(ProviderUnavailable):
    """The server knows no such service: nobody has registered it, or the server's state is lost."""


@dataclass(frozen=True, kw_only=True)
class _Answer:
    """What the server answered to one request."""

    address: str
    status: int
    content: bytes


class RestateApi:
    """Talks to one server, or to one cluster."""

    def __init__(self, settings: RestateSettings) -> None:
        self._settings = settings
        token = settings.token
        self._http = httpx.AsyncClient(
            timeout=LONGEST_READ,
            limits=httpx.Limits(max_connections=CONNECTIONS),
            headers={"accept-encoding": "identity"}
            | ({"authorization": f"Bearer {token}"} if token else {}),
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def ingress(
        self, path: str, body: Any = None, *, headers: Mapping[str, str] | None = None
    ) -> Any:
        """POST a JSON body to the ingress; the JSON that it answers, or NotRegistered."""
        url = self._settings.ingress + path
        answer = await self._request("POST", url, body, headers=headers or {})
        if answer.status == HTTPStatus.NOT_FOUND:
            raise NotRegistered(f"Restate at {answer.address} answered 404: {_reason(answer)}")
        return _accepted(answer)

    async def admin(self, method: str, path: str, body: Any = None) -> Any:
        """Call the admin API, and return the JSON that it answers; None where it has no such thing.

        ProviderRefused carries the vendor's reason.
        """
        answer = await self._request(method, self._settings.admin + path, body)
        return None if answer.status == HTTPStatus.NOT_FOUND else _accepted(answer)

    async def query(self, sql: str) -> Sequence[Row]:
        """Read rows of the server's tables."""
        url, headers = f"{self._settings.admin}/query", {"accept": "application/json"}
        answer = await self._request("POST", url, {"query": sql}, headers=headers)
        return objects_in(_accepted(answer), "rows")

    async def _request(
        self, method: str, url: str, body: Any, *, headers: Mapping[str, str] | None = None
    ) -> _Answer:
        content = None if body is None and method != "POST" else orjson.dumps(body)
        all_headers = {"content-type": "application/json", **(headers or {})}
        try:
            async with asyncio.timeout(LONGEST_REQUEST):
                answer = await self._read(method, url, content, all_headers)
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError) as error:
            problem = f"Restate at {url} does not answer: {type(error).__name__}: {error}"
            raise ProviderUnavailable(problem) from None
        if answer.status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
            raise ProviderRefused(
                f"Restate does not accept the token ({answer.status}); see RESTATE_AUTH_TOKEN"
            )
        return answer

    async def _read(
        self, method: str, url: str, content: bytes | None, headers: Mapping[str, str]
    ) -> _Answer:
        body = bytearray()
        async with self._http.stream(method, url, content=content, headers=headers) as answer:
            async for chunk in answer.aiter_bytes():
                body += chunk
                if len(body) > LARGEST_ANSWER:
                    raise ProviderUnavailable(
                        f"Restate at {url} answered more than {LARGEST_ANSWER:,} bytes"
                    )
        address = f"{answer.request.url.host}:{answer.request.url.port}"
        return _Answer(address=address, status=answer.status_code, content=bytes(body))


def literal(text: str) -> str:
    """Write a text as a literal of a query."""
    return "'" + text.replace("'", "''") + "'"


def text_in(answer: Any, name: str) -> str:
    """Read a text of an answer; ProviderUnavailable where there is none."""
    value = answer.get(name) if isinstance(answer, Mapping) else None
    if not isinstance(value, str) or not value:
        raise ProviderUnavailable(f"Restate answered without a text {name!r}")
    return value


def objects_in(answer: Any, name: str) -> Sequence[Row]:
    """Read a list of objects of an answer; ProviderUnavailable where there is none."""
    value = answer.get(name) if isinstance(answer, Mapping) else None
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise ProviderUnavailable(f"Restate answered without a list of objects {name!r}")
    return value


def time_in(row: Row, name: str) -> Millis | None:
    """Read a moment of a row; None where it has none."""
    text = row.get(name)
    if text is None:
        return None
    try:
        return moment(datetime.fromisoformat(str(text)))
    except (ValueError, OverflowError, WrongUse):
        raise ProviderUnavailable(
            f"Restate answered with {name!r} that is no time: {str(text)[:80]!r}"
        ) from None


def _accepted(answer: _Answer) -> Any:
    """Read the body of a good answer; raise the error of any other."""
    if HTTPStatus.OK <= answer.status < HTTPStatus.MULTIPLE_CHOICES:
        return _body(answer)
    text = f"Restate at {answer.address} answered {answer.status}: {_reason(answer)}"
    if answer.status == HTTPStatus.TOO_MANY_REQUESTS:
        raise ProviderUnavailable(text, retry_after=timedelta(seconds=5))
    if answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        raise ProviderUnavailable(text)
    raise ProviderRefused(text)


def _reason(answer: _Answer) -> str:
    body = _body(answer)
    text = body.get("message") if isinstance(body, dict) else None
    return str(text or "no reason given")[:500]


def _body(answer: _Answer) -> Any:
    try:
        return orjson.loads(answer.content) if answer.content else None
    except orjson.JSONDecodeError:
        return None
