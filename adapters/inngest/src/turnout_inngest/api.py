"""The vendor's HTTP API: every answer is checked, and errors are Turnout's own."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

import httpx
import orjson

from turnout.errors import ProviderRefused, ProviderUnavailable
from turnout_inngest.keys import bearer
from turnout_inngest.server_clock import ServerClock
from turnout_inngest.settings import InngestSettings

MAX_EVENTS = 1_000
"""Events in one request; the vendor takes 5,000, but bounds its bytes too."""
PAGE = 100


@dataclass(frozen=True, kw_only=True)
class Answer:
    """An answer of any status; its body is None where it was not JSON."""

    status: int
    body: Any

    @property
    def is_ok(self) -> bool:
        """Whether the request was carried out."""
        return self.status < HTTPStatus.MULTIPLE_CHOICES

    @property
    def code(self) -> str | None:
        """The code of an error of API v2, like not_found or api_error."""
        errors = self.body.get("errors") if isinstance(self.body, dict) else None
        first = errors[0] if isinstance(errors, list) and errors else None
        return first.get("code") if isinstance(first, dict) else None

    @property
    def data(self) -> Any:
        """What API v2 and v1 wrap; None where there is nothing, as for an empty list."""
        return self.body.get("data") if isinstance(self.body, dict) else None


class InngestApi:
    """Talks to one server."""

    def __init__(self, settings: InngestSettings, server_time: ServerClock) -> None:
        self._settings = settings
        hooks = {"response": [server_time.hear]}
        self._http = httpx.AsyncClient(timeout=10.0, event_hooks=hooks)

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def send(self, events: Sequence[Mapping[str, Any]]) -> Sequence[str | Exception]:
        """Send events in few requests; for each its id at the vendor, or the error."""
        answers: list[str | Exception] = []
        for start in range(0, len(events), MAX_EVENTS):
            answers += await self._send(events[start : start + MAX_EVENTS])
        return answers

    async def get(self, path: str, **query: str | Sequence[str]) -> Answer:
        """GET; ProviderUnavailable or ProviderRefused where there is no usable answer.

        query: the parameters, of which any may have several values.
        """
        return await self._request("GET", path, query)

    async def post(self, path: str) -> Answer:
        """POST without a body."""
        return await self._request("POST", path, {})

    async def delete(self, path: str) -> Answer:
        """DELETE."""
        return await self._request("DELETE", path, {})

    async def functions(self, app: str) -> list[Mapping[str, Any]]:
        """Read the functions that the server knows of an app; none for an app that it lacks."""
        functions: list[Mapping[str, Any]] = []
        cursor = ""
        while True:
            query = {"limit": str(PAGE), **({"cursor": cursor} if cursor else {})}
            answer = await self.get(f"/v2/apps/{quote(app, safe='')}/functions", **query)
            if answer.status == HTTPStatus.NOT_FOUND and answer.code == "not_found":
                return functions
            self.check(answer)
            functions += self.listed(answer)
            following = self.following(answer)
            if following in {"", cursor}:
                return functions
            cursor = following

    def check(self, answer: Answer) -> None:
        """Raise the error of an answer that is not good, or is not JSON."""
        if answer.is_ok and isinstance(answer.body, dict):
            return
        raise self._fault(answer)

    def listed(self, answer: Answer) -> list[Mapping[str, Any]]:
        """Read a list of objects; none where there is nothing."""
        data = answer.data
        if data is None:
            return []
        if not isinstance(data, list) or not all(isinstance(item, dict) for item in data):
            raise ProviderUnavailable("Inngest answered with 'data' that is no list of objects")
        return data

    def following(self, answer: Answer) -> str:
        """Read the cursor of the next page; empty after the last."""
        page = answer.body.get("page") or {}
        if not isinstance(page, dict):
            raise ProviderUnavailable("Inngest answered with a 'page' that is none")
        return str(page.get("cursor") or "") if page.get("hasMore") else ""

    async def _send(self, events: Sequence[Mapping[str, Any]]) -> list[str | Exception]:
        key = self._settings.event_key or "dev"
        with _translated(self._settings.events):
            response = await self._http.post(
                f"{self._settings.events}/e/{quote(key, safe='')}",
                content=orjson.dumps(list(events)),
                headers={"content-type": "application/json", **self._environment()},
            )
        answer = _answer(response)
        ids = answer.body.get("ids") if isinstance(answer.body, dict) else None
        event_ids = (
            [event_id for event_id in ids if isinstance(event_id, str)]
            if isinstance(ids, list)
            else []
        )
        fault = None if answer.is_ok else self._fault(answer, response)
        if fault is None and len(event_ids) != len(events):
            # A wrong address may answer JSON too, with no ids in it.
            fault = ProviderUnavailable(
                f"{self._settings.events} accepted {len(event_ids)} of {len(events)} events;"
                " see that INNGEST_EVENT_API_BASE_URL is an Inngest server"
            )
        # Some may be accepted though the whole is refused: those are named, in order.
        return [
            event_ids[place]
            if place < len(event_ids) and event_ids[place]
            else fault or _nameless()
            for place in range(len(events))
        ]

    async def _request(
        self, method: str, path: str, query: Mapping[str, str | Sequence[str]]
    ) -> Answer:
        url = self._settings.api + path
        keys = [self._settings.signing_key or "", self._settings.signing_key_fallback or ""]
        for key in dict.fromkeys(keys):
            headers = {**self._environment(), **({"authorization": bearer(key)} if key else {})}
            with _translated(self._settings.api):
                response = await self._http.request(method, url, params=query, headers=headers)
            answer = _answer(response)
            if answer.status != HTTPStatus.UNAUTHORIZED:
                break
        if answer.status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
            raise self._fault(answer)
        if answer.status == HTTPStatus.TOO_MANY_REQUESTS or answer.status >= _SERVER_ERROR:
            raise self._fault(answer, response)
        return answer

    def _fault(self, answer: Answer, response: httpx.Response | None = None) -> Exception:
        """The error of an answer: ProviderUnavailable if a retry may help, else ProviderRefused."""
        address, reason = self._settings.api, _reason_in(answer.body)
        if answer.status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
            return ProviderRefused(
                f"Inngest does not accept the key ({answer.status}: {reason}); see"
                " INNGEST_EVENT_KEY and INNGEST_SIGNING_KEY"
            )
        if answer.status == HTTPStatus.TOO_MANY_REQUESTS:
            pause = response.headers.get("retry-after", "") if response is not None else ""
            seconds = min(int(pause), 3_600) if pause.isascii() and pause.isdigit() else 5
            return ProviderUnavailable(
                f"Inngest asks for a pause of {seconds} s", retry_after=timedelta(seconds=seconds)
            )
        if answer.status >= _SERVER_ERROR or answer.is_ok:
            return ProviderUnavailable(f"{address} answered {answer.status}: {reason}")
        if answer.status == HTTPStatus.NOT_FOUND and answer.code != "not_found":
            reason += "; see that INNGEST_BASE_URL is an Inngest server with API v2"
        return ProviderRefused(f"Inngest refused ({answer.status}): {reason}")

    def _environment(self) -> dict[str, str]:
        name = self._settings.environment
        return {} if name is None else {"x-inngest-env": name}


_SERVER_ERROR = 500


@contextlib.contextmanager
def _translated(address: str) -> Iterator[None]:
    """Translate errors of the HTTP client."""
    try:
        yield
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise ProviderUnavailable(
            f"Inngest at {address} does not answer: {type(error).__name__}: {error}"
        ) from None


def _answer(response: httpx.Response) -> Answer:
    try:
        body = orjson.loads(response.content) if response.content else None
    except orjson.JSONDecodeError:
        body = None
    return Answer(status=response.status_code, body=body)


def _reason_in(body: Any) -> str:
    """Find the vendor's own reason in an error's body, bounded."""
    if not isinstance(body, dict):
        return "no reason given"
    errors = body.get("errors")
    if isinstance(errors, list) and errors and isinstance(errors[0], dict):
        return str(errors[0].get("message", ""))[:500]
    return str(body.get("error") or body.get("message") or "no reason given")[:500]


def _nameless() -> Exception:
    return ProviderUnavailable("Inngest took the event and gave no id for it")
