"""The vendor's two HTTP APIs: every answer is checked, and errors are Turnout's own."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Any

import httpx
import orjson

from turnout.errors import ProviderRefused, ProviderUnavailable
from turnout.model.time import Millis, moment
from turnout_restate.settings import RestateSettings

CONNECTIONS = 64
"""Requests to the server at the same time; more would wait in its accept queue."""

Row = Mapping[str, Any]
"""A row that a query has read, by column; a column without a value is absent."""


class RestateApi:
    """Talks to one server, or to one cluster."""

    def __init__(self, settings: RestateSettings) -> None:
        self._settings = settings
        token = settings.token
        self._http = httpx.AsyncClient(
            timeout=10.0,
            limits=httpx.Limits(max_connections=CONNECTIONS),
            headers={"authorization": f"Bearer {token}"} if token else {},
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def ingress(
        self, path: str, body: Any = None, *, headers: Mapping[str, str] | None = None
    ) -> Any:
        """POST a JSON body to the ingress, and return the JSON that it answers."""
        url = self._settings.ingress + path
        content = orjson.dumps(body)
        all_headers = {"content-type": "application/json", **(headers or {})}
        return _accepted(await self._request("POST", url, content=content, headers=all_headers))

    async def admin(self, method: str, path: str, body: Any = None) -> Any:
        """Call the admin API, and return the JSON that it answers; None where it has no such thing.

        ProviderRefused carries the vendor's reason.
        """
        content = None if body is None else orjson.dumps(body)
        url = self._settings.admin + path
        headers = {"content-type": "application/json"}
        answer = await self._request(method, url, content=content, headers=headers)
        return None if answer.status_code == HTTPStatus.NOT_FOUND else _accepted(answer)

    async def query(self, sql: str) -> list[Row]:
        """Read rows of the server's tables."""
        answer = await self._request(
            "POST",
            f"{self._settings.admin}/query",
            content=orjson.dumps({"query": sql}),
            headers={"content-type": "application/json", "accept": "application/json"},
        )
        body = _accepted(answer)
        rows = body.get("rows") if isinstance(body, dict) else None
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise ProviderUnavailable(f"{self._settings.admin} answered a query without rows")
        return rows

    async def _request(
        self, method: str, url: str, *, content: bytes | None, headers: Mapping[str, str]
    ) -> httpx.Response:
        try:
            answer = await self._http.request(method, url, content=content, headers=headers)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            problem = f"Restate at {url} does not answer: {type(error).__name__}: {error}"
            raise ProviderUnavailable(problem) from None
        if answer.status_code in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
            raise ProviderRefused(
                f"Restate does not accept the token ({answer.status_code}); see RESTATE_AUTH_TOKEN"
            )
        return answer


def literal(text: str) -> str:
    """Write a text as a literal of a query."""
    return "'" + text.replace("'", "''") + "'"


def time_in(row: Row, name: str) -> Millis | None:
    """Read a moment of a row; None where it has none."""
    text = row.get(name)
    if text is None:
        return None
    try:
        return moment(datetime.fromisoformat(str(text)))
    except ValueError:
        raise ProviderUnavailable(
            f"Restate answered with {name!r} that is no time: {str(text)[:80]!r}"
        ) from None


def _accepted(answer: httpx.Response) -> Any:
    """Read the body of a good answer; raise the error of any other."""
    if answer.is_success:
        return _body(answer)
    address, reason = f"{answer.request.url.host}:{answer.request.url.port}", _reason(answer)
    text = f"Restate at {address} answered {answer.status_code}: {reason}"
    if answer.status_code == HTTPStatus.TOO_MANY_REQUESTS:
        raise ProviderUnavailable(text, retry_after=timedelta(seconds=5))
    if answer.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR:
        raise ProviderUnavailable(text)
    raise ProviderRefused(text)


def _reason(answer: httpx.Response) -> str:
    body = _body(answer)
    text = body.get("message") if isinstance(body, dict) else None
    return str(text or "no reason given")[:500]


def _body(answer: httpx.Response) -> Any:
    try:
        return orjson.loads(answer.content) if answer.content else None
    except orjson.JSONDecodeError:
        return None
