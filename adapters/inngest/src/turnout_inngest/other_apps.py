"""Functions of other deployables at the same server, under our app's name or another.

A registration replaces all functions of an app's name. So before one is sent, the functions that
are registered are checked for another owner.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import quote, urlsplit

import httpx

from turnout.errors import ProviderRefused
from turnout.model.tasks import App
from turnout_inngest.api import InngestApi
from turnout_inngest.functions import event_name
from turnout_inngest.ingress import FUNCTION as INGRESS
from turnout_inngest.json_fields import object_in, objects_in, text_in
from turnout_inngest.schedules import FUNCTION as SCHEDULE
from turnout_inngest.settings import InngestSettings

MAX_APPS: Final = 50
MAX_NAMES: Final = 5
ANSWERS_WITHIN: Final = 2.0
OVERRIDE: Final = "TURNOUT_INNGEST_REPLACE"


@dataclass(frozen=True, kw_only=True)
class RegisteredApp:
    """What the server has under an app's name."""

    url: str
    """Where it calls that app."""
    functions: Sequence[Mapping[str, Any]]


async def registered_app(api: InngestApi, app: str) -> RegisteredApp:
    """Read what the server has under an app's name; nothing where it has no such app."""
    answer = await api.get(f"/v2/apps/{quote(app, safe='')}")
    if answer.status == HTTPStatus.NOT_FOUND:
        return RegisteredApp(url="", functions=())
    api.check(answer)
    url = text_in(object_in(object_in(answer.body, "data"), "latestSync"), "url")
    return RegisteredApp(url=url, functions=await api.functions(app))


async def apps(api: InngestApi) -> list[str]:
    """Name the apps at the server, the first ones of very many; none where it cannot list them."""
    answer = await api.get("/v2/apps", limit=str(MAX_APPS))
    if not answer.is_ok or not isinstance(answer.body, dict):
        return []
    return [name for app in objects_in(answer.body, "data") if (name := text_in(app, "id"))]


def foreign_functions(app: App, functions: Iterable[Mapping[str, Any]]) -> list[str]:
    """Name the functions under our app's name that Turnout did not register for it."""
    return sorted(
        text_in(function, "id") for function in functions if not _is_turnouts(app, function)
    )


def undefined_tasks(app: App, functions: Iterable[Mapping[str, Any]]) -> list[str]:
    """Name the tasks under our app's name that this code does not define."""
    defined = {function.id for function in app.all_tasks}
    return sorted(
        name
        for function in functions
        if _is_turnouts(app, function)
        and not (name := text_in(function, "id")).startswith((SCHEDULE, INGRESS))
        and name not in defined
    )


async def check_ownership(api: InngestApi, app: App, settings: InngestSettings) -> None:
    """Refuse to register over what another deployable has registered; ProviderRefused names it."""
    if settings.replaces:
        return
    registered = await registered_app(api, app.name)
    alien = foreign_functions(app, registered.functions)
    if alien:
        raise ProviderRefused(
            f"at Inngest the app id {app.name!r} holds functions that are not Turnout's:"
            f" {shortened(alien)}{_at(registered.url)}; to register would remove them. Give this"
            f" app another name, or set {OVERRIDE}=1 to replace them"
        )
    unknown = undefined_tasks(app, registered.functions)
    if (
        unknown
        and _is_other_service(registered.url, settings)
        and await _may_live(registered.url, settings)
    ):
        raise ProviderRefused(
            f"at Inngest the app id {app.name!r} is held by another deployable{_at(registered.url)}"
            f", with tasks that this one does not define: {shortened(unknown)}. Give this app"
            f" another name, or set {OVERRIDE}=1 if it has moved"
        )
    await _check_slugs(api, app)


async def _check_slugs(api: InngestApi, app: App) -> None:
    """Refuse ids that the server cannot tell from another app's: it joins both with a hyphen."""
    slugs = {f"{app.name}-{function.id}": function.id for function in app.all_tasks}
    for other_app in await apps(api):
        near = other_app.startswith(f"{app.name}-") or app.name.startswith(f"{other_app}-")
        if other_app == app.name or not near:
            continue
        for function in await api.functions(other_app):
            slug = f"{other_app}-{text_in(function, 'id')}"
            if slug in slugs:
                raise ProviderRefused(
                    f"task {slugs[slug]!r} of app {app.name!r} is {slug!r} at Inngest, and so is"
                    f" {text_in(function, 'id')!r} of app {other_app!r} there; rename one of them"
                )


def listens_to(function: Mapping[str, Any]) -> Iterator[str]:
    """Name the events that start a function."""
    for trigger in objects_in(function, "triggers"):
        if text_in(trigger, "type") == "EVENT":
            yield text_in(trigger, "value")


def _is_turnouts(app: App, function: Mapping[str, Any]) -> bool:
    name = text_in(function, "id")
    if name.startswith((SCHEDULE, INGRESS)):
        return True
    return event_name(app, name) in listens_to(function)


def _is_other_service(url: str, settings: InngestSettings) -> bool:
    """Whether an app at this address is another service. Over a socket there is no address."""
    if not url or urlsplit(url).scheme not in {"http", "https"} or settings.transport != "serve":
        return False
    return _place(url) != (*_place(settings.service_url)[:2], settings.served_at)


async def _may_live(url: str, settings: InngestSettings) -> bool:
    """Whether the other deployable may be in use; a dev server keeps addresses of dead apps."""
    if settings.production:
        return True
    try:
        async with httpx.AsyncClient(timeout=ANSWERS_WITHIN) as http:
            await http.head(url)
    except httpx.HTTPError:
        return False
    return True


def _place(url: str) -> tuple[str, int | None, str]:
    """An address as host, port and path; the server writes 127.0.0.1 as localhost."""
    parts = urlsplit(url)
    host = (parts.hostname or "").replace("127.0.0.1", "localhost")
    port = parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    return host, port, parts.path


def shortened(names: Sequence[str]) -> str:
    """List the first few names, and count the others."""
    remainder = f" and {len(names) - MAX_NAMES} more" if len(names) > MAX_NAMES else ""
    return ", ".join(names[:MAX_NAMES]) + remainder


def _at(url: str) -> str:
    return f" (at {url})" if url else ""
