"""Reads and ends single vendor runs, by those routes of the API that show their true state."""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import quote

from turnout.errors import ProviderRefused
from turnout.model.providers import Sighting
from turnout.model.runs import Delivery
from turnout.model.tasks import App
from turnout.model.time import Millis, iso
from turnout.ports.clock import Clock
from turnout_inngest.api import PAGE, Answer, InngestApi
from turnout_inngest.functions import event_name
from turnout_inngest.json_fields import object_in, text_in, texts_in, time_in, unexpected_shape
from turnout_inngest.sent_events import SentEvents
from turnout_inngest.statuses import state_of

_EVENT: Final = "event:"
LIST: Final = "/v2/runs"
OPEN: Final = ("QUEUED", "RUNNING")
"""The words of API v2 for a run that has not ended."""
SCHEDULED_WITHIN: Final[Millis] = 30_000
"""By then an accepted event has its run; one without was a repetition, which never has any."""


class VendorRuns:
    """Knows a delivery's vendor run by its id or, before it has called in, by its event's id."""

    def __init__(self, api: InngestApi, app: App, clock: Clock) -> None:
        self._api = api
        self._app = app
        self._clock = clock
        self._sent = SentEvents(api, clock)

    @staticmethod
    def of_event(event_id: str) -> str:
        """The id of a delivery until its vendor run calls in: that of its event."""
        return _EVENT + event_id

    async def look(self, delivery: Delivery) -> Sighting:
        """Read the state of the vendor run."""
        run, source = await self._find(delivery)
        now = self._clock.now()
        if run is None:
            return Sighting(state=None, word="not found", seen_at=now, evidence={"source": source})
        return self._sighting(run, source)

    async def list_page(
        self, since: Millis | None, cursor: str
    ) -> tuple[Mapping[str, Sighting], str]:
        """Read a page in order of queueing; what `Lists.list_runs` gives.

        A cursor is the id of the last run of the page before, and the vendor's. ProviderRefused
        ends a list that gives a page twice, or an empty one before the last.
        """
        last_id, _, after = cursor.partition(" ")
        limits: dict[str, str | Sequence[str]] = (
            {"status": OPEN} if since is None else {"from": iso(since)}
        )
        if after:
            limits["cursor"] = after
        answer = await self._api.get(
            LIST,
            appId=self._app.name,
            limit=str(PAGE),
            order="ASC",
            timeField="QUEUED_AT",
            **limits,
        )
        self._api.check(answer)
        runs = {_id_of(run): run for run in self._api.listed(answer)}
        following = self._api.following(answer)
        if last_id in runs or (following and following == after):
            raise ProviderRefused("Inngest gave a page of its list of runs twice")
        if following and not runs:
            raise ProviderRefused("Inngest gave an empty page before the end of its list of runs")
        tasks = {task.id for task in self._app.all_tasks}
        page = {
            run_id: self._sighting(run, LIST)
            for run_id, run in runs.items()
            if text_in(object_in(run, "function"), "id") in tasks
        }
        return page, f"{[*runs][-1]} {following}" if following else ""

    async def stamp(self, sighting: Sighting) -> Mapping[str, Any]:
        """Read the payload of the event that started a listed run; empty where it has none."""
        event_id = next(iter(sighting.aliases), "").removeprefix(_EVENT)
        if not event_id:
            return {}
        answer = await self._api.get(f"/v1/events/{quote(event_id, safe='')}")
        if answer.status == HTTPStatus.NOT_FOUND or not isinstance(answer.data, dict):
            return {}
        return object_in(answer.data, "data")

    def _sighting(self, run: Mapping[str, Any], source: str) -> Sighting:
        return Sighting(
            state=state_of(run),
            word=text_in(run, "status"),
            seen_at=self._clock.now(),
            started_at=time_in(run, "startedAt", "run_started_at"),
            ended_at=time_in(run, "endedAt", "ended_at"),
            aliases=tuple(
                self.of_event(event_id)
                for event_id in texts_in(object_in(run, "trigger"), "eventIds")
            ),
            evidence={
                "source": source,
                "id": run.get("id") or run.get("run_id"),
                "status": run.get("status"),
                "queuedAt": run.get("queuedAt"),
                "startedAt": run.get("startedAt") or run.get("run_started_at"),
                "endedAt": run.get("endedAt") or run.get("ended_at"),
            },
        )

    async def stop(self, delivery: Delivery) -> bool:
        """Cancel the vendor run, and say whether the server says that it has ended."""
        run, _ = await self._find(delivery)
        if run is None:
            return self._never_starts(delivery)
        if state_of(run).terminal:
            return True
        run_id = _id_of(run)
        quoted = quote(run_id, safe="")
        answer = await self._api.post(f"/v2/runs/{quoted}/cancel")
        if _is_no_route(answer):
            answer = await self._api.delete(f"/v1/runs/{quoted}")
        has_ended = answer.status in {HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT}
        if not answer.is_ok and not has_ended:
            self._api.check(answer)
        run_now, _ = await self._by_id(run_id)
        return run_now is None or state_of(run_now).terminal

    def _never_starts(self, delivery: Delivery) -> bool:
        """Whether a vendor run that is not listed will never start; else it may only be late."""
        vendor_id = delivery.provider_run_id
        if vendor_id is None or not vendor_id.startswith(_EVENT) or delivery.sent_at is None:
            return True
        return self._clock.now() - delivery.sent_at > SCHEDULED_WITHIN

    async def _find(self, delivery: Delivery) -> tuple[Mapping[str, Any] | None, str]:
        vendor_id = delivery.provider_run_id
        if vendor_id is None:
            return None, "not sent"
        if not vendor_id.startswith(_EVENT):
            return await self._by_id(vendor_id)
        event_id = vendor_id.removeprefix(_EVENT)
        run, source = await self._by_event(event_id, delivery.task)
        return (run, source) if run is not None else await self._by_key(delivery, event_id, source)

    async def _by_key(
        self, delivery: Delivery, event_id: str, source: str
    ) -> tuple[Mapping[str, Any] | None, str]:
        """Find the run of another event of the same key: of two, only the first has a run."""
        name = event_name(self._app, delivery.task)
        for other in await self._sent.of_key(name, delivery.key, delivery.sent_at or 0):
            if other != event_id:
                run, list_path = await self._by_event(other, delivery.task)
                if run is not None:
                    return run, list_path
        return None, source

    async def _by_event(self, event_id: str, task: str) -> tuple[Mapping[str, Any] | None, str]:
        source = f"/v2/events/{quote(event_id, safe='')}/runs"
        for run in await self._listed(source):
            if text_in(object_in(run, "function"), "id") == task:
                return run, source
        return None, source

    async def _by_id(self, run_id: str) -> tuple[Mapping[str, Any] | None, str]:
        """Read a run; while it goes on, its own page may show the status of its first step."""
        source = f"/v2/runs/{quote(run_id, safe='')}"
        answer = await self._api.get(source)
        if _is_no_route(answer):
            return await self._by_old_api(run_id)
        if answer.status == HTTPStatus.NOT_FOUND:
            return None, source
        self._api.check(answer)
        run = answer.data
        if not isinstance(run, dict):
            raise unexpected_shape("data", run, "a run")
        if run.get("endedAt"):
            return run, source
        for event_id in texts_in(object_in(run, "trigger"), "eventIds"):
            by_event = f"/v2/events/{quote(event_id, safe='')}/runs"
            for listed in await self._listed(by_event):
                if text_in(listed, "id") == run_id:
                    return listed, by_event
        return run, source

    async def _by_old_api(self, run_id: str) -> tuple[Mapping[str, Any] | None, str]:
        """Read a run where there is no API v2; its errors come with status 200."""
        source = f"/v1/runs/{quote(run_id, safe='')}"
        answer = await self._api.get(source)
        self._api.check(answer)
        return (answer.data if isinstance(answer.data, dict) else None), source

    async def _listed(self, source: str) -> list[Mapping[str, Any]]:
        answer = await self._api.get(source, limit="40")
        if answer.status == HTTPStatus.NOT_FOUND and answer.code == "not_found":
            return []
        self._api.check(answer)
        return self._api.listed(answer)


def _is_no_route(answer: Answer) -> bool:
    """Whether a server of an older version has no such route, as against no such run."""
    return answer.status == HTTPStatus.NOT_FOUND and answer.code != "not_found"


def _id_of(run: Mapping[str, Any]) -> str:
    run_id = text_in(run, "id", "run_id")
    if not run_id:
        raise unexpected_shape("id", run, "the id of a run")
    return run_id
