"""What is configured, reachable, registered and agreed among replicas, and what to do next."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

from turnout.bootstrap.adapters import EMBEDDED, installed, select
from turnout.bootstrap.live import Turnout, load_app, open_turnout
from turnout.bootstrap.settings import Settings, read_settings
from turnout.errors import TurnoutError, UnknownRun
from turnout.model.providers import LinkState
from turnout.model.replicas import Replica
from turnout.model.routing import DUAL
from turnout.ports.caller import DurableCaller, Notices, Probes
from turnout.stores.artifacts.probe import probe

Found = TypeVar("Found")

PATIENCE = 5.0
"""Seconds that one check may take."""

PROBE_IN = 45.0
"""Seconds for a vendor's worker to be started and to look: a cold start is part of it."""


class Health(StrEnum):
    """What a check found."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, kw_only=True)
class Check:
    """One thing looked at: what was found, and what to do about it."""

    name: str
    health: Health
    text: str
    fix: str = ""


async def examine(
    environ: Mapping[str, str], app: str | None = None, *, through_worker: bool = False
) -> list[Check]:
    """Look at everything that can be looked at; nothing is changed.

    through_worker: also have each provider's worker call the service, as its runs do.
    """
    found: list[Check] = []
    settings = _attempt(
        found,
        "settings",
        lambda: read_settings(environ),
        fix="correct the settings that are named (migration_docs/settings.md lists them all)",
    )
    if settings is None:
        return found
    selection = _attempt(
        found,
        "provider",
        lambda: select(settings),
        fix=f"set ORCHESTRATOR_PROVIDER to one of {', '.join(installed())}",
    )
    named = app or settings.app
    if named is None:
        found.append(
            Check(
                name="app",
                health=Health.FAIL,
                text="no app is named",
                fix="set TURNOUT_APP=module:attribute, or give --app",
            )
        )
    loaded = (
        None
        if named is None
        else _attempt(
            found,
            "app",
            lambda: load_app(named),
            fix="correct the app's code or its name, module:attribute, in --app or TURNOUT_APP",
        )
    )
    if selection is None or loaded is None:
        return found
    found.append(_selected(settings, selection.names))
    live = _attempt(
        found,
        "adapters",
        lambda: open_turnout(loaded, settings=settings, serve=False),
        fix="set what is named; for offline servers, `turnout dev"
        f" --app {named}` prints the providers' settings",
    )
    if live is None:
        return found
    try:
        found.extend([each async for each in _looked(live, str(named))])
        if through_worker:
            found.extend(await _through_worker(live))
    finally:
        await live.close()
    return found


def advice(checks: list[Check]) -> str:
    """Name the next command, or the first fix."""
    for health in (Health.FAIL, Health.WARN):
        for each in checks:
            if each.health is health and each.fix:
                return each.fix
    return "turnout emit NAME --payload '{…}', then turnout runs list"


async def _looked(live: Turnout, named: str) -> AsyncIterator[Check]:
    start = f"start the service: turnout serve {named}"
    if all(name in EMBEDDED for name in live.selection.names):
        start = f"start the work: turnout work {named}, or turnout serve {named}"
    yield Check(name="app", health=Health.OK, text=f"{live.app.name}: {_tasks(live)}")
    yield await _bounded(
        "run store", _run_store(live), fix="start the database, or correct TURNOUT_DATABASE_URL"
    )
    yield await _bounded(
        "artifacts", _artifacts(live), fix="correct TURNOUT_ARTIFACTS: a folder, a bucket or none"
    )
    yield _keys(live)
    for name, caller in live.callers.items():
        yield await _bounded(
            f"provider {name}",
            _provider(live, name, caller, start),
            fix=f"start {name} or correct its settings; offline: turnout dev --app {named}",
        )
        if isinstance(caller, Notices):
            for notice in await _notices(live, name, caller):
                yield notice
    yield await _bounded("replicas", _replicas(live, start), fix=start)
    for each in await _links(live):
        yield each


async def _run_store(live: Turnout) -> Check:
    routes = await live.store.routes.read()
    text = f"{live.store!r} answers"
    if live.selection.provider == DUAL and not routes:
        text += "; no routes: every task is dual"
    return Check(name="run store", health=Health.OK, text=text)


async def _artifacts(live: Turnout) -> Check:
    store = live.primary.artifacts
    if store is None:
        return Check(name="artifacts", health=Health.WARN, text="none are written")
    abilities = await probe(store)
    kept = [name for name in ("create", "if_match") if getattr(abilities, name)]
    return Check(
        name="artifacts",
        health=Health.OK,
        text=f"{live.settings.artifacts} can be written; it keeps: {', '.join(kept) or 'nothing'}",
    )


def _keys(live: Turnout) -> Check:
    count = len(live.settings.signing_keys)
    if count or all(name in EMBEDDED for name in live.selection.names):
        text = f"{count} set" if count else "none, and none needed: no worker is remote"
        return Check(name="signing keys", health=Health.OK, text=text)
    return Check(
        name="signing keys",
        health=Health.FAIL if live.settings.production else Health.WARN,
        text="none: the step endpoint refuses every call of a remote worker",
        fix="set TURNOUT_SIGNING_KEYS=whsec_… (24 to 64 random bytes in base64)",
    )


async def _provider(live: Turnout, name: str, caller: DurableCaller, start: str) -> Check:
    known = set(await caller.defined())
    missing = [each.id for each in live.app.tasks if each.id not in known]
    armed = {each.id for each in await caller.armed()}
    owned = {
        each.schedule.id for each in await live.store.schedules.read() if each.provider == name
    }
    title = f"provider {name}"
    if missing and name in live.selection.names:
        return Check(
            name=title,
            health=Health.FAIL,
            text=f"reachable; not registered: {', '.join(missing)}",
            fix=start,
        )
    late = sorted(owned - armed) if name in live.selection.names else []
    if late:
        return Check(
            name=title,
            health=Health.WARN,
            text=f"reachable; schedules not armed: {', '.join(late)}",
            fix=start,
        )
    return Check(
        name=title,
        health=Health.OK,
        text=f"reachable; {len(known)} task(s) registered, {len(armed)} schedule(s) armed",
    )


async def _notices(live: Turnout, name: str, caller: Notices) -> list[Check]:
    """What the adapter noticed at its vendor; nothing where that does not answer: it is told."""

    async def knows(run_id: str) -> bool:
        try:
            await live.store.journals.load(run_id)
        except UnknownRun:
            return False
        return True

    try:
        found = await asyncio.wait_for(caller.notices(knows), PATIENCE)
    except (TurnoutError, TimeoutError):
        return []
    return [
        Check(name=f"at {name}", health=Health.WARN, text=each.text, fix=each.fix) for each in found
    ]


async def _through_worker(live: Turnout) -> list[Check]:
    """What each provider's worker sees of this service; embedded ones have no way to look at."""
    found: list[Check] = []
    for name, caller in live.callers.items():
        if not isinstance(caller, Probes):
            if name in live.selection.names:
                text = (
                    "nothing to look through: no remote worker of this provider calls the service"
                )
                found.append(Check(name=f"through {name}", health=Health.OK, text=text))
            continue
        try:
            seen = await asyncio.wait_for(caller.probe(PROBE_IN), PROBE_IN + PATIENCE)
        except (TurnoutError, TimeoutError) as error:
            text = str(error) or f"no answer in {PROBE_IN:.0f} s"
            found.append(Check(name=f"through {name}", health=Health.FAIL, text=text))
            continue
        found += [
            Check(
                name=f"through {name}: {each.what}",
                health=Health.OK if each.ok else Health.FAIL,
                text=each.text,
                fix=each.fix,
            )
            for each in seen
        ]
    return found


async def _replicas(live: Turnout, start: str) -> Check:
    alive = await live.living()
    if not alive:
        return Check(
            name="replicas",
            health=Health.WARN,
            text="no replica of the service is running",
            fix=start,
        )
    for what in ("provider", "definition", "version"):
        values = {getattr(each, what) for each in alive}
        if len(values) > 1:
            return Check(
                name="replicas",
                health=Health.FAIL,
                text=f"{len(alive)} replicas disagree on the {what}: {', '.join(sorted(values))}",
                fix="restart the replicas with the same settings and code",
            )
    return Check(name="replicas", health=Health.OK, text=f"{len(alive)} alive, all agreed")


async def _links(live: Turnout) -> list[Check]:
    """How the connections stand that living replicas hold to their providers, by provider."""
    try:
        alive = await asyncio.wait_for(live.living(), PATIENCE)
    except (TurnoutError, TimeoutError):
        return []
    return [_link(name, alive) for name in sorted({name for each in alive for name in each.links})]


def _link(name: str, alive: Sequence[Replica]) -> Check:
    links = [each.links[name] for each in alive if name in each.links]
    down = [each for each in links if each.state is not LinkState.CONNECTED]
    again = sum(max(0, each.connections - 1) for each in links)
    text = f"{len(links) - len(down)} of {len(links)} replica(s) connected"
    text += f"; made anew {again} time(s)" if again else ""
    problem = next((each.problem for each in (*down, *links) if each.problem), "")
    text += f"; {'' if down else 'last '}problem: {problem}" if problem else ""
    if not down:
        return Check(name=f"link {name}", health=Health.OK, text=text)
    return Check(
        name=f"link {name}",
        health=Health.FAIL if len(down) == len(links) else Health.WARN,
        text=f"{text} ({', '.join(sorted({each.state.value for each in down}))})",
        fix=f"see that the replicas reach {name}'s gateway, and that it takes their keys; they try"
        " again by themselves",
    )


def _selected(settings: Settings, names: tuple[str, ...]) -> Check:
    text = (
        f"ORCHESTRATOR_PROVIDER={settings.provider or '(unset: local)'}; new runs go to {names[0]}"
    )
    if len(names) > 1:
        text += f", shadows to {names[1]}"
    return Check(
        name="provider", health=Health.OK, text=f"{text}; installed: {', '.join(installed())}"
    )


def _tasks(live: Turnout) -> str:
    tasks, schedules = len(live.app.tasks), len(live.app.schedules)
    return f"{tasks} task(s), {schedules} schedule(s), definition {live.app.definition[:12]}"


async def _bounded(name: str, check: Awaitable[Check], *, fix: str) -> Check:
    try:
        return await asyncio.wait_for(check, PATIENCE)
    except TurnoutError as error:
        return Check(name=name, health=Health.FAIL, text=str(error), fix=fix)
    except TimeoutError:
        return Check(name=name, health=Health.FAIL, text=f"no answer in {PATIENCE:.0f} s", fix=fix)


def _attempt(found: list[Check], name: str, work: Callable[[], Found], *, fix: str) -> Found | None:
    """Do what the next checks need; an error of ours is the check's finding."""
    try:
        return work()
    except TurnoutError as error:
        found.append(Check(name=name, health=Health.FAIL, text=str(error), fix=fix))
        return None
