"""The vendor's management API over HTTP. No other module imports httpx for it.

Source of the error shapes: exchanges recorded on a self-hosted 4.5.12 server.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

import httpx
import orjson

from turnout.errors import ProviderRefused, ProviderUnavailable
from turnout.ports.clock import Clock
from turnout_triggerdev.rates import RateGate
from turnout_triggerdev.settings import TriggerdevSettings

API_VERSION: Final = "2025-07-16"
"""Without this header the server answers with its older names of statuses."""

TIMEOUT: Final = 15.0
AT_ONCE: Final = 10
"""How many requests are in flight at the same time."""
PAGE_LIMIT: Final = 1_000
LIMITED_TRIES: Final = 5
"""How often a request that the rate limit refuses is sent; it waits for the reset in between."""
NOT_FOUND_PAUSES: Final = (200, 600)
"""Pauses, in milliseconds, before a read is repeated that the server says may succeed later."""

_NOT_FOUND, _LIMITED, _SERVER = 404, 429, 500
_PASSING: Final = {408, 409}


class Api:
    """The API of one environment of one project."""

    def __init__(self, settings: TriggerdevSettings, clock: Clock) -> None:
        headers = {"x-trigger-api-version": API_VERSION, "accept": "application/json"}
        if settings.branch:
            headers["x-trigger-branch"] = settings.branch
        self._secret = {"authorization": f"Bearer {settings.secret_key}"}
        self._token = {"authorization": f"Bearer {settings.access_token}"}
        self._http = httpx.AsyncClient(
            base_url=settings.api_url, headers=headers, timeout=TIMEOUT, follow_redirects=False
        )
        self._places = asyncio.Semaphore(AT_ONCE)
        self._clock = clock
        self._gate = RateGate(clock)

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def get(
        self, path: str, *, params: Mapping[str, Any] | None = None, token: bool = False
    ) -> Any:
        """Read; None for a 404.

        token: authenticate with the personal access token instead of the environment's key.
        """
        return await self._call("GET", path, params=params, headers=self._auth(token=token))

    async def post(self, path: str, body: Any = None) -> Any:
        """Send JSON; None for a 404."""
        content = orjson.dumps({} if body is None else body)
        headers = {**self._auth(), "content-type": "application/json"}
        return await self._call("POST", path, content=content, headers=headers)

    async def post_lines(self, path: str, lines: list[Any]) -> Any:
        """Send newline-delimited JSON."""
        content = b"".join(orjson.dumps(line) + b"\n" for line in lines)
        headers = {**self._auth(), "content-type": "application/x-ndjson"}
        return await self._call("POST", path, content=content, headers=headers)

    async def delete(self, path: str) -> None:
        """Delete; something that does not exist counts as deleted."""
        await self._call("DELETE", path, headers=self._auth())

    async def pages(self, path: str) -> AsyncIterator[Any]:
        """Read all items of a list with numbered pages."""
        page, last = 1, 1
        while page <= last:
            listing = await self.get(path, params={"page": page, "perPage": 100}) or {}
            for item in items_of(listing):
                yield item
            last = _last_page(listing)
            page += 1

    def _auth(self, *, token: bool = False) -> dict[str, str]:
        return self._token if token else self._secret

    async def _call(self, method: str, path: str, **options: Any) -> Any:
        """Send a request, and repeat it while the server says that it may succeed later.

        A lookup by an id may come too early: the server then answers 404 with `x-should-retry`.
        """
        for pause in (*NOT_FOUND_PAUSES, None):
            answer = await self._unlimited(method, path, options)
            if pause is None or answer.status_code != _NOT_FOUND or not _may_come_yet(answer):
                break
            await self._clock.sleep(pause)
        return _read(answer)

    async def _unlimited(
        self, method: str, path: str, options: Mapping[str, Any]
    ) -> httpx.Response:
        """Send a request, wait out the rate limit; ProviderUnavailable if that takes too long."""
        for _ in range(LIMITED_TRIES):
            async with self._places:
                await self._gate.passed()
                with _translated(str(self._http.base_url).rstrip("/")):
                    answer = await self._http.request(method, path, **options)
                self._gate.used_up(answer.headers)
            if answer.status_code != _LIMITED:
                return answer
            wait = self._gate.refused(_loaded(answer))
            if answer.headers.get("x-should-retry") == "false":
                break
        raise ProviderUnavailable(f"triggerdev: {_reason(answer)}", retry_after=wait)


def _may_come_yet(answer: httpx.Response) -> bool:
    return bool(answer.headers.get("x-should-retry") == "true")


def _read(answer: httpx.Response) -> Any:
    status = answer.status_code
    if answer.is_success:
        return _json(answer)
    if status == _NOT_FOUND:
        if _is_page(answer):
            raise ProviderRefused(
                f"triggerdev has no {answer.request.url.path}; is TRIGGER_API_URL the origin of its"
                " API, and is it 4.3 or later?"
            )
        return None
    problem = f"triggerdev answered {status}: {_reason(answer)}"
    if _may_pass(answer):
        raise ProviderUnavailable(problem)
    raise ProviderRefused(problem)


def _may_pass(answer: httpx.Response) -> bool:
    """Whether the same request may succeed later: as the server says, else by the status."""
    advice = answer.headers.get("x-should-retry")
    if advice in {"true", "false"}:
        return bool(advice == "true")
    return answer.status_code >= _SERVER or answer.status_code in _PASSING


def _is_page(answer: httpx.Response) -> bool:
    return bool(answer.headers.get("content-type", "").startswith("text/html"))


def _json(answer: httpx.Response) -> Any:
    """Read the body of an answer, which the vendor promises to be an object."""
    try:
        body = orjson.loads(answer.content) if answer.content else None
    except orjson.JSONDecodeError:
        raise ProviderRefused(
            "triggerdev answered something that is not JSON; is TRIGGER_API_URL its origin?"
        ) from None
    if body is not None and not isinstance(body, dict):
        raise ProviderUnavailable(
            f"triggerdev answered a {type(body).__name__}, not an object;"
            " is TRIGGER_API_URL its origin?"
        )
    return body


def text_of(body: Any, name: str) -> str:
    """Read a required text."""
    value = body.get(name) if isinstance(body, dict) else None
    if not isinstance(value, str) or not value:
        raise ProviderUnavailable(f"triggerdev answered without {name!r}")
    return value


def items_of(body: Any, name: str = "data") -> list[dict[str, Any]]:
    """Read an optional list of objects; empty when it is missing."""
    items = body.get(name) if isinstance(body, dict) else None
    if items is None:
        return []
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise ProviderUnavailable(f"triggerdev answered with {name!r} that is no list of objects")
    return items


def names_of(body: Any, name: str) -> list[str]:
    """Read a required list of texts."""
    items = body.get(name) if isinstance(body, dict) else None
    if not isinstance(items, list) or not all(isinstance(item, str) for item in items):
        raise ProviderUnavailable(f"triggerdev answered with {name!r} that is no list of texts")
    return items


def flag_of(body: Any, name: str) -> bool:
    """Read a required true or false."""
    value = body.get(name) if isinstance(body, dict) else None
    if not isinstance(value, bool):
        raise ProviderUnavailable(f"triggerdev answered without a true or false {name!r}")
    return value


def number_of(body: Any, name: str) -> int | None:
    """Read an optional whole number."""
    value = body.get(name) if isinstance(body, dict) else None
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool):
        raise ProviderUnavailable(f"triggerdev answered with {name!r} that is no whole number")
    return value


def _last_page(listing: Mapping[str, Any]) -> int:
    pages = listing.get("pagination") or {}
    last = pages.get("totalPages", 1) if isinstance(pages, dict) else None
    if not isinstance(last, int) or isinstance(last, bool) or last > PAGE_LIMIT:
        raise ProviderUnavailable("triggerdev answered with a 'pagination' that is none")
    return last


def _loaded(answer: httpx.Response) -> Any:
    """Read the body as JSON; None when it is not JSON."""
    try:
        return orjson.loads(answer.content)
    except orjson.JSONDecodeError:
        return None


def _reason(answer: httpx.Response) -> str:
    body = _loaded(answer)
    if not isinstance(body, dict):
        return answer.reason_phrase
    message = str(body.get("error") or body.get("detail") or body.get("title") or "")
    listed = body.get("issues") or body.get("details")
    issues = listed if isinstance(listed, list) else []
    faults = "; ".join(
        f"{_dotted(issue.get('path'))}: {issue.get('message')}"
        for issue in issues[:5]
        if isinstance(issue, dict)
    )
    return f"{message} ({faults})" if faults else message or answer.reason_phrase


def _dotted(path: Any) -> str:
    return ".".join(map(str, path)) if isinstance(path, list) else str(path or "")


@contextmanager
def _translated(url: str) -> Iterator[None]:
    """Translate the errors of httpx, which must not cross the port."""
    try:
        yield
    except httpx.HTTPError as error:
        problem = f"{type(error).__name__}: {error}".removesuffix(": ")
        raise ProviderUnavailable(f"triggerdev at {url} does not answer: {problem}") from None
