"""What the doctor reports of the vendor's server: open routes, other senders and apps, keys."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from http import HTTPStatus
from itertools import islice
from typing import Any, Final
from urllib.parse import quote, urlsplit

import httpx

from turnout.errors import ProviderUnavailable, TurnoutError
from turnout.model.providers import Notice
from turnout.model.tasks import App
from turnout.ports.caller import HasRun
from turnout_inngest.api import InngestApi
from turnout_inngest.functions import event_name
from turnout_inngest.ingress import FUNCTION as INGRESS
from turnout_inngest.ingress import names_of, subscribed
from turnout_inngest.json_fields import object_in, objects_in, text_in
from turnout_inngest.keys import key_notices, try_keys
from turnout_inngest.other_apps import (
    apps,
    foreign_functions,
    listens_to,
    registered_app,
    shortened,
    undefined_tasks,
)
from turnout_inngest.settings import CLOUD_API, InngestSettings

PATIENCE: Final = 3.0
MAX_APPS: Final = 20
MAX_NAMES: Final = 20
MAX_RUNS: Final = 20
"""How many apps, events and runs are looked at: a doctor is quick."""

OPEN: Final = (
    ("POST", "/v0/gql", "everyone who reaches it can read all runs and cancel them"),
    ("GET", "/metrics", "everyone who reaches it can read its metrics"),
    ("GET", "/debug/pprof/", "everyone who reaches it can profile it, and read its memory"),
)
"""What the vendor's self-hosted server leaves open although it has keys."""
GUARDED: Final = ("/v2/apps", "everyone who reaches it can use its whole API, without a key")
FENCE: Final = "let only your own services reach the server; --no-ui shuts /v0/gql"


class ServerChecks:
    """Checks the vendor's server in few and bounded requests; changes nothing."""

    def __init__(self, api: InngestApi, app: App, settings: InngestSettings) -> None:
        self._api = api
        self._app = app
        self._settings = settings
        self._names = tuple(dict.fromkeys(subscribed(app)))

    async def notices(self, has_run: HasRun) -> Sequence[Notice]:
        """Say what an operator should know."""
        notices: list[Notice] = []
        async with httpx.AsyncClient(timeout=PATIENCE) as http:
            notices += await self._open_routes(http)
            if self._settings.production:
                notices += key_notices(await try_keys(http, self._settings))
        for look in (self._check_foreign_functions, self._workers, self._listeners, self._senders):
            notices += await _reachable(look())
        notices += await _reachable(self._started_by_hand(has_run))
        return notices

    async def _open_routes(self, http: httpx.AsyncClient) -> list[Notice]:
        """Call without a key the routes that should need one; a local dev server needs none."""
        api = self._settings.api
        if api == CLOUD_API or (not self._settings.production and _is_loopback(api)):
            return []
        notices = []
        for method, path, means in (*OPEN, ("GET", *GUARDED)):
            body = {"query": "{ __typename }"} if method == "POST" else None
            try:
                answer = await http.request(method, api + path, json=body)
            except httpx.HTTPError:
                continue
            # The server says 200, and nothing, to paths that it does not have.
            if answer.status_code == HTTPStatus.OK and answer.content:
                notices.append(Notice(text=f"{path} of the server is open: {means}", fix=FENCE))
        if notices:
            means = "everyone who reaches it can start any function"
            notices.append(Notice(text=f"/invoke/… of the server is open: {means}", fix=FENCE))
        return notices

    async def _check_foreign_functions(self) -> list[Notice]:
        """Find functions of others under our app's name."""
        registered = await registered_app(self._api, self._app.name)
        at = f" (at {registered.url})" if registered.url else ""
        notices = []
        if alien := foreign_functions(self._app, registered.functions):
            notices.append(
                Notice(
                    text=f"another deployable holds the app id {self._app.name!r}{at}:"
                    f" {shortened(alien)}",
                    fix="give one of the two another name: each registration removes the other's",
                )
            )
        if unknown := undefined_tasks(self._app, registered.functions):
            notices.append(
                Notice(
                    text=f"tasks that this code does not define are registered{at}:"
                    f" {shortened(unknown)}",
                    fix="start the service with this code, or give each deployable a name of"
                    " its own",
                )
            )
        if missing := self._events_without_ingress(registered.functions):
            notices.append(
                Notice(
                    text=f"TURNOUT_INNGEST_INGRESS is not registered yet for {shortened(missing)}",
                    fix="start the service, so that it registers",
                )
            )
        return notices

    def _events_without_ingress(self, functions: Iterable[Mapping[str, Any]]) -> list[str]:
        """Name the events that should come in and that no ingress function listens to."""
        ingress_events = {
            name
            for function in functions
            if text_in(function, "id").startswith(INGRESS)
            for name in listens_to(function)
        }
        return sorted(set(names_of(self._app, self._settings)) - ingress_events)

    async def _workers(self) -> list[Notice]:
        """Count the sockets that hold our app, where we are called by socket."""
        if self._settings.transport != "connect":
            return []
        answer = await self._api.get("/v0/connect/envs/default/conns")
        if not answer.is_ok or not isinstance(answer.body, dict):
            return []
        if any(self._app.name in (worker.get("apps") or ()) for worker in _data(answer.body)):
            return []
        return [
            Notice(
                text=f"no worker of app {self._app.name!r} is connected: its runs fail",
                fix="start the service or turnout work, with TURNOUT_INNGEST_TRANSPORT=connect",
            )
        ]

    async def _listeners(self) -> list[Notice]:
        """Find functions of other apps that start by the events that our tasks subscribe to."""
        event_names = {
            *self._names,
            *(event_name(self._app, task.id) for task in self._app.all_tasks),
        }
        notices = []
        for other_app in islice(await apps(self._api), MAX_APPS):
            if other_app == self._app.name:
                continue
            for function in await self._api.functions(other_app):
                shared = sorted(event_names.intersection(listens_to(function)))
                if shared and not text_in(function, "id").startswith(INGRESS):
                    notices.append(_listener(other_app, text_in(function, "id"), shared))
        return notices

    async def _senders(self) -> list[Notice]:
        """Find events that our tasks subscribe to at the server: Turnout sends none, so others do.

        Events that an ingress function listens to come in and are no problem.
        """
        ingress_events = set(names_of(self._app, self._settings))
        names = []
        for name in islice(
            (event for event in self._names if event not in ingress_events), MAX_NAMES
        ):
            answer = await self._api.get("/v1/events", name=name, limit="1")
            if answer.is_ok and isinstance(answer.body, dict):
                names += [name for event in _data(answer.body) if text_in(event, "name") == name]
        if not names:
            return []
        return [
            Notice(
                text=f"others send events to the server that start tasks here: {shortened(names)}"
                "; Turnout does not see them",
                fix=f"set TURNOUT_INNGEST_INGRESS={','.join(dict.fromkeys(names))}, or have"
                " them post to this service: TURNOUT_INNGEST_EVENT_KEYS; while functions of the SDK"
                " still take them, neither: hand them over, as the adapter's page on adopting says",
            )
        ]

    async def _started_by_hand(self, has_run: HasRun) -> list[Notice]:
        """Find vendor runs of our functions whose run the store does not know."""
        query = {"appId": self._app.name, "limit": str(MAX_RUNS)}
        answer = await self._api.get("/v2/runs", **query)
        if not answer.is_ok or not isinstance(answer.body, dict):
            return []
        prefix = event_name(self._app, "")
        foreign = []
        for run in _data(answer.body):
            for event_id in islice(object_in(run, "trigger").get("eventIds") or (), 1):
                event = await self._event(str(event_id))
                if not text_in(event, "name").startswith((prefix, "inngest/function.invoked")):
                    continue
                if not await has_run(str(object_in(event, "data").get("run_id") or "")):
                    foreign.append(text_in(run, "id"))
        if not foreign:
            return []
        return [
            Notice(
                text=f"{len(foreign)} run(s) at the server are not in the run store:"
                f" {shortened(foreign)}; started by hand, or for another store, they do nothing",
                fix="start runs with turnout emit",
            )
        ]

    async def _event(self, event_id: str) -> Mapping[str, Any]:
        answer = await self._api.get(f"/v1/events/{quote(event_id, safe='')}")
        return answer.data if answer.is_ok and isinstance(answer.data, dict) else {}


async def _reachable(look: Any) -> list[Notice]:
    """The notices of one check; none where the server did not answer, so that others go on."""
    try:
        notices: list[Notice] = await look
    except ProviderUnavailable:
        return []
    except TurnoutError as error:
        return [Notice(text=f"not all could be looked at: {error}"[:500])]
    return notices


def _listener(app: str, function: str, shared: Sequence[str]) -> Notice:
    return Notice(
        text=f"function {function!r} of app {app!r} listens to {shortened(shared)} as well: an"
        " event that is sent to the server starts it, one that is emitted here does not",
        fix="remove the function once its tasks have moved, or rename the event",
    )


def _data(body: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Read a list of objects; none where the server has null for it."""
    yield from objects_in({"data": body.get("data") or []}, "data")


def _is_loopback(url: str) -> bool:
    return (urlsplit(url).hostname or "") in {"127.0.0.1", "localhost", "::1"}
