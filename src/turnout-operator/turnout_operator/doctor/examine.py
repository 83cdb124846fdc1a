"""Everything that can be checked, in order; nothing is changed."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import TypeVar

from turnout.bootstrap.adapters import EMBEDDED, installed, select
from turnout.bootstrap.live import open_turnout
from turnout.bootstrap.settings import read_settings
from turnout.bootstrap.stores import open_primary_store
from turnout.bootstrap.user_code import load_app
from turnout.errors import TurnoutError
from turnout.model.tasks import App
from turnout.ports.caller import DurableCaller, Notices, Probes, Serves
from turnout.service.process import Turnout
from turnout.service.settings import Settings
from turnout_operator.doctor.check import Check, Health, bounded
from turnout_operator.doctor.guards import check_guards
from turnout_operator.doctor.providers import check_provider, look_through_worker, notices
from turnout_operator.doctor.replicas import check_clocks, check_links, check_replicas
from turnout_operator.doctor.stores import (
    check_artifacts,
    check_dead_letters,
    check_held_runs,
    check_run_store,
)

Value = TypeVar("Value")


async def examine(
    environ: Mapping[str, str], app: str | None = None, *, through_worker: bool = False
) -> list[Check]:
    """Check everything that can be; app: as module:attribute, else TURNOUT_APP.

    through_worker: also have each provider's worker call the service, as its runs do.
    """
    checks: list[Check] = []
    settings = _attempt(
        checks,
        "settings",
        lambda: read_settings(environ),
        fix="correct the settings that are named (migration_docs/settings.md lists them all)",
    )
    if settings is None:
        return checks
    app_name = app or settings.app
    selection = _attempt(
        checks,
        "provider",
        lambda: select(settings),
        fix=f"set ORCHESTRATOR_PROVIDER to one of {', '.join(installed())}",
    )
    loaded = _load(checks, app_name)
    if selection is None or loaded is None or app_name is None:
        return checks
    checks.append(_selected(settings, selection.names))
    store = _attempt(
        checks,
        "run store",
        lambda: open_primary_store(settings, loaded),
        fix="correct TURNOUT_DATABASE_URL, or what the store refuses",
    )
    if store is None:
        return checks
    live = _attempt(
        checks,
        "adapters",
        lambda: open_turnout(loaded, settings=settings, store=store, serve=False),
        fix="set what is named; for offline servers, `turnout dev"
        f" --app {app_name}` prints the providers' settings",
    )
    if live is None:
        await store.close()
        return checks
    try:
        checks += [check async for check in _live_checks(live, app_name)]
        if through_worker:
            checks += await look_through_worker(live)
    finally:
        await live.close()
    return checks


def advice(checks: Sequence[Check]) -> str:
    """Say what to do about the worst check, else the next command."""
    for check in worst_first(checks):
        if check.health is not Health.OK:
            return check.fix or f"see to {check.name}: {check.text}"
    return "turnout emit NAME --payload '{…}', then turnout runs list"


def worst_first(checks: Sequence[Check]) -> Sequence[Check]:
    """Order checks: failures, then warnings; what others rest on goes first among equals."""
    order = (Health.FAIL, Health.WARN, Health.OK)
    return sorted(checks, key=lambda check: order.index(check.health))


async def _live_checks(live: Turnout, app_name: str) -> AsyncIterator[Check]:
    start = f"start the service: turnout serve {app_name}"
    if all(name in EMBEDDED for name in live.selection.names):
        start = f"start the work: turnout work {app_name}, or turnout serve {app_name}"
    yield Check(name="app", health=Health.OK, text=f"{live.app.name}: {_contents(live.app)}")
    yield await bounded(
        "run store",
        check_run_store(live),
        fix="start the database, or correct TURNOUT_DATABASE_URL",
    )
    yield await bounded(
        "artifacts",
        check_artifacts(live),
        fix="correct TURNOUT_ARTIFACTS: a folder, a bucket or none",
    )
    yield await bounded(
        "dead letters", check_dead_letters(live, app_name), fix="correct TURNOUT_DATABASE_URL"
    )
    yield await bounded("held runs", check_held_runs(live), fix="correct TURNOUT_DATABASE_URL")
    yield _signing_keys(live)
    yield check_guards(live)
    for name, caller in live.callers.items():
        yield await bounded(
            f"provider {name}",
            check_provider(live, name, caller, start),
            fix=f"start {name} or correct its settings; offline: turnout dev --app {app_name}",
        )
        if isinstance(caller, Notices):
            for notice in await notices(live, name, caller):
                yield notice
    yield await bounded("replicas", check_replicas(live, start), fix=start)
    for check in (*await check_clocks(live), *await check_links(live)):
        yield check


def _load(checks: list[Check], name: str | None) -> App | None:
    if name is None:
        fix = "set TURNOUT_APP=module:attribute, or give --app"
        checks.append(Check(name="app", health=Health.FAIL, text="no app is named", fix=fix))
        return None
    return _attempt(
        checks,
        "app",
        lambda: load_app(name),
        fix="correct the app's code or its name, module:attribute, in --app or TURNOUT_APP",
    )


def _signing_keys(live: Turnout) -> Check:
    count = len(live.settings.signing_keys)
    callers = [live.callers[name] for name in live.selection.names]
    if count or not any(map(is_remote, callers)):
        text = f"{count} set" if count else "none, and none needed: no worker is remote"
        return Check(name="signing keys", health=Health.OK, text=text)
    return Check(
        name="signing keys",
        health=Health.FAIL if live.settings.production else Health.WARN,
        text="none: the step endpoint refuses every call of a remote worker",
        fix="set TURNOUT_SIGNING_KEYS=whsec_… (24 to 64 random bytes in base64)",
    )


def is_remote(caller: DurableCaller) -> bool:
    """Whether a provider calls the step endpoint: it has no endpoint of its own, or a worker."""
    if caller.name in EMBEDDED:
        return False
    return isinstance(caller, Probes) or not isinstance(caller, Serves)


def _selected(settings: Settings, names: tuple[str, ...]) -> Check:
    provider = settings.provider or "(unset: local)"
    text = f"ORCHESTRATOR_PROVIDER={provider}; new runs go to {names[0]}"
    if len(names) > 1:
        text += f", shadows to {names[1]}"
    return Check(
        name="provider", health=Health.OK, text=f"{text}; installed: {', '.join(installed())}"
    )


def _contents(app: App) -> str:
    tasks, schedules = len(app.tasks), len(app.schedules)
    return f"{tasks} task(s), {schedules} schedule(s), definition {app.definition[:12]}"


def _attempt(
    checks: list[Check], name: str, work: Callable[[], Value], *, fix: str
) -> Value | None:
    """Return what the next checks need; an error is added as a failed check."""
    try:
        return work()
    except TurnoutError as error:
        checks.append(Check(name=name, health=Health.FAIL, text=str(error), fix=fix))
        return None
