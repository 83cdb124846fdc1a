"""A function's configuration as an application registers it, validated.

What the offline server cannot honour is refused at sync, by name.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from turnout_inngest.cel import InvalidExpression

from turnout_inngest_double import crons, expressions, ids
from turnout_inngest_double.errors import InvalidFunction, RefusedBySync

DEFAULT_RETRIES = 4
MAX_RETRIES = 20
MAX_TRIGGERS = 10
MAX_NAME = 255
MAX_CANCELS = 5
MAX_CONCURRENCY = 2
DAY_MS = 86_400_000
_SETTINGS = frozenset(
    {
        *("id", "name", "triggers", "steps", "concurrency", "cancel", "timeouts", "debounce"),
        *("batchEvents", "rateLimit", "throttle", "singleton", "idempotency", "priority"),
    }
)


@dataclass(frozen=True, kw_only=True)
class Trigger:
    """An event with an optional condition, or a cron."""

    event: str | None = None
    expression: str | None = None
    cron: str | None = None
    jitter_ms: int = 0


@dataclass(frozen=True, kw_only=True)
class Limit:
    """At most `limit` steps, or runs, of one key at a time."""

    limit: int
    key: str | None = None
    scope: str = "fn"


@dataclass(frozen=True, kw_only=True)
class CancelRule:
    """An event that cancels the runs it matches, for `timeout_ms` after their start."""

    event: str
    condition: str | None = None
    timeout_ms: int | None = None


@dataclass(frozen=True, kw_only=True)
class Rate:
    """`limit` per period and key; throttle allows `burst` more at once."""

    limit: int
    period_ms: int
    key: str | None = None
    burst: int = 0


@dataclass(frozen=True, kw_only=True)
class Debounce:
    """Start once it has been quiet for the period, at the latest after the timeout."""

    period_ms: int
    key: str | None = None
    timeout_ms: int | None = None


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Gather events into one run, up to a number or a time."""

    max_size: int
    timeout_ms: int
    key: str | None = None
    condition: str | None = None


@dataclass(frozen=True, kw_only=True)
class Singleton:
    """One run of a key at a time: skip the newcomer, or cancel the old one."""

    mode: str
    key: str | None = None


@dataclass(frozen=True, kw_only=True)
class Function:
    """One registered function. `slug` is `<app>-<id>`; `url` is where its steps are asked for."""

    slug: str
    app: str
    name: str
    url: str
    raw: Mapping[str, Any]
    retries: int = DEFAULT_RETRIES
    declares_retries: bool = False
    triggers: tuple[Trigger, ...] = ()
    step_limits: tuple[Limit, ...] = ()
    run_limits: tuple[Limit, ...] = ()
    cancels: tuple[CancelRule, ...] = ()
    start_timeout_ms: int | None = None
    finish_timeout_ms: int | None = None
    debounce: Debounce | None = None
    batch: Batch | None = None
    rate_limit: Rate | None = None
    throttle: Rate | None = None
    singleton: Singleton | None = None
    idempotency: str | None = None
    priority: str | None = None
    archived: bool = field(default=False, compare=False)

    @property
    def id(self) -> str:
        """The id without the app's name."""
        return self.slug.removeprefix(f"{self.app}-")

    @cached_property
    def uuid(self) -> str:
        """The id that the APIs call internal."""
        return ids.name_uuid(self.slug)


def parse_function(app: str, raw: Mapping[str, Any]) -> Function:
    """The function that a registration describes; RefusedBySync names what is wrong."""
    slug = raw.get("id")
    if not isinstance(slug, str) or not slug:
        raise RefusedBySync("a function has no id")
    try:
        return _parse(app, slug, raw)
    except InvalidFunction:
        raise
    except RefusedBySync as error:
        raise RefusedBySync(f"function {slug!r}: {error}") from error
    except (AttributeError, KeyError, StopIteration, TypeError, ValueError) as error:
        raise RefusedBySync(f"function {slug!r} is malformed: {error}") from error


def _parse(app: str, slug: str, raw: Mapping[str, Any]) -> Function:
    unknown = {name for name in set(raw) - _SETTINGS if raw[name]}
    if unknown:
        raise RefusedBySync(f"the offline server does not know {', '.join(sorted(unknown))}")
    step = next(iter(raw["steps"].values()))
    retries = (step.get("retries") or {}).get("attempts")
    step_limits, run_limits = _concurrency(raw.get("concurrency"))
    timeouts = raw.get("timeouts") or {}
    function = Function(
        slug=slug,
        app=app,
        name=raw.get("name") or slug,
        url=str(step["runtime"]["url"]),
        raw=raw,
        retries=DEFAULT_RETRIES if retries is None else min(int(retries), MAX_RETRIES),
        declares_retries=retries is not None,
        triggers=_triggers(raw.get("triggers") or []),
        step_limits=step_limits,
        run_limits=run_limits,
        cancels=_cancels(raw.get("cancel") or []),
        start_timeout_ms=_duration(timeouts.get("start")),
        finish_timeout_ms=_duration(timeouts.get("finish")),
        debounce=_debounce(raw.get("debounce")),
        batch=_batch(raw.get("batchEvents")),
        rate_limit=_rate(raw.get("rateLimit")),
        throttle=_rate(raw.get("throttle")),
        singleton=_singleton(raw.get("singleton")),
        idempotency=_expression(raw.get("idempotency")),
        priority=_expression((raw.get("priority") or {}).get("run")),
    )
    _check_together(function)
    return function


def _check_together(function: Function) -> None:
    if function.batch and (
        function.cancels or function.debounce or function.singleton or function.priority
    ):
        if function.cancels:
            raise InvalidFunction("Batching and cancellation are mutually exclusive")
        raise RefusedBySync("a batch cannot be combined with debounce, singleton, priority")


def _triggers(raw: list[Mapping[str, Any]]) -> tuple[Trigger, ...]:
    if len(raw) > MAX_TRIGGERS:
        raise InvalidFunction(f"This function exceeds the max number of triggers: {MAX_TRIGGERS}")
    triggers: list[Trigger] = []
    reasons: list[str] = []
    for item in raw:
        try:
            triggers.append(_trigger(item))
        except InvalidFunction as error:
            reasons += error.reasons
    reasons += _repeated([item.cron for item in triggers if item.cron], "cron")
    reasons += _repeated([item.event for item in triggers if item.event], "event")
    if reasons:
        raise InvalidFunction(*reasons)
    return tuple(triggers)


def _repeated(values: list[str], kind: str) -> list[str]:
    twice = dict.fromkeys(value for value in values if values.count(value) > 1)
    problems = [f"duplicate trigger {kind}: {value}" for value in twice]
    return problems + [f"duplicate cron expression: {value}" for value in twice if kind == "cron"]


def _trigger(raw: Mapping[str, Any]) -> Trigger:
    cron = raw.get("cron")
    if cron is not None:
        crons.check(cron)
        return Trigger(cron=cron, jitter_ms=_duration(raw.get("jitter")) or 0)
    event = raw.get("event")
    if not isinstance(event, str):
        raise InvalidFunction("A trigger must supply an event name or a cron schedule")
    if not event:
        raise InvalidFunction("An event trigger must specify an event name")
    if len(event) > MAX_NAME:
        raise InvalidFunction(f"event name is too long. maximum length is {MAX_NAME} characters")
    return Trigger(event=event, expression=_expression(raw.get("expression")))


def _concurrency(raw: Any) -> tuple[tuple[Limit, ...], tuple[Limit, ...]]:
    if isinstance(raw, Mapping):
        return _limits(raw.get("step") or []), _limits(raw.get("fn") or [])
    if isinstance(raw, int) and not isinstance(raw, bool):
        return _limits([{"limit": raw}]), ()
    return _limits(raw or []), ()


def _limits(raw: Iterable[Mapping[str, Any]]) -> tuple[Limit, ...]:
    limits = tuple(
        Limit(
            limit=int(item["limit"]),
            key=_expression(item.get("key")),
            scope=str(item.get("scope") or "fn").lower(),
        )
        for item in raw
    )
    if len(limits) > MAX_CONCURRENCY:
        problem = "There are more concurrency limits specified than the allowed max of"
        raise InvalidFunction(f"{problem}: {MAX_CONCURRENCY}")
    for item in limits:
        if item.scope != "fn" and not item.key:
            problem = f"A concurrency key must be specified for {item.scope.title()} scoped limits"
            raise InvalidFunction(problem)
    # Zero and less mean the plan's limit, and the double has no plan.
    return tuple(item for item in limits if item.limit > 0)


def _cancels(raw: list[Mapping[str, Any]]) -> tuple[CancelRule, ...]:
    if len(raw) > MAX_CANCELS:
        problem = "This function exceeds the max number of cancellation events"
        raise InvalidFunction(f"{problem}: {MAX_CANCELS}")
    return tuple(
        CancelRule(
            event=rule["event"],
            condition=_expression(rule.get("if") or rule.get("if_exp")),
            timeout_ms=_duration(rule.get("timeout")),
        )
        for rule in raw
    )


def _debounce(raw: Mapping[str, Any] | None) -> Debounce | None:
    if not raw:
        return None
    return Debounce(
        period_ms=ids.parse_duration(raw["period"]),
        key=_expression(raw.get("key")),
        timeout_ms=_duration(raw.get("timeout")),
    )


def _batch(raw: Mapping[str, Any] | None) -> Batch | None:
    if not raw:
        return None
    return Batch(
        max_size=int(raw["maxSize"]),
        timeout_ms=_duration(raw.get("timeout")) or 60_000,
        key=_expression(raw.get("key")),
        condition=_expression(raw.get("if")),
    )


def _rate(raw: Mapping[str, Any] | None) -> Rate | None:
    if not raw:
        return None
    return Rate(
        limit=int(raw["limit"]),
        period_ms=ids.parse_duration(raw["period"]),
        key=_expression(raw.get("key")),
        burst=int(raw.get("burst") or 0),
    )


def _singleton(raw: Mapping[str, Any] | None) -> Singleton | None:
    if not raw:
        return None
    if raw.get("mode") not in {"skip", "cancel"}:
        raise RefusedBySync("a singleton's mode is skip or cancel")
    return Singleton(mode=raw["mode"], key=_expression(raw.get("key")))


def _expression(text: str | None) -> str | None:
    if not text:
        return None
    try:
        expressions.check(text)
    except InvalidExpression as error:
        raise RefusedBySync(str(error)) from None
    return text


def _duration(text: str | None) -> int | None:
    return ids.parse_duration(text) if text else None
