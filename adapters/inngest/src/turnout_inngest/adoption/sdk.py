"""Reads the SDK's private attributes of functions and clients; no other module does.

Its objects have no public reading of what they were made of; the names used here are those of
`inngest` 0.5.18 and 0.5.19, and a version without them is refused by name.
"""

import copy
import gc
import inspect
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import inngest

from turnout.errors import InvalidDefinition

OPTIONS = (
    *("batch_events", "cancel", "concurrency", "debounce", "idempotency", "name", "priority"),
    *("rate_limit", "retries", "singleton", "throttle", "timeouts"),
)


@dataclass(frozen=True, kw_only=True, eq=False)
class Declared:
    """A function as its author declared it."""

    function: inngest.Function[Any]
    id: str
    """Its id within the app."""
    full_id: str
    handler: Callable[..., Any]
    on_failure: Callable[..., Any] | None
    triggers: tuple[inngest.TriggerEvent | inngest.TriggerCron, ...]
    options: dict[str, Any]
    output_type: Any
    middleware: tuple[Any, ...]

    @property
    def failure_id(self) -> str:
        """The id under which the SDK knows its failure handler."""
        return f"{self.full_id}-failure"

    @property
    def is_async(self) -> bool:
        """Whether its handler is a coroutine function."""
        return inspect.iscoroutinefunction(self.handler)


def declared(function: inngest.Function[Any]) -> Declared:
    """Read one function."""
    try:
        opts = function._opts  # noqa: SLF001 - see above
        return Declared(
            function=function,
            id=function.local_id,
            full_id=function.id,
            handler=function._handler,  # noqa: SLF001
            on_failure=opts.on_failure,
            triggers=tuple(function._triggers),  # noqa: SLF001
            options={name: getattr(opts, name) for name in OPTIONS},
            output_type=function._output_type,  # noqa: SLF001
            middleware=tuple(function._middleware),  # noqa: SLF001
        )
    except AttributeError as error:
        raise InvalidDefinition(
            f"the installed inngest cannot be read ({error}); adoption knows 0.5.18 and 0.5.19"
        ) from None


def all_declared(functions: Iterable[inngest.Function[Any]]) -> tuple[Declared, ...]:
    """Read functions; two with one id are refused."""
    by_id: dict[str, Declared] = {}
    for function in functions:
        read = declared(function)
        if by_id.setdefault(read.full_id, read).function is not function:
            raise InvalidDefinition(
                f"two functions have the id {read.full_id!r}; name those to adopt:"
                " adopt(client, [first, second])"
            )
    return tuple(by_id.values())


def with_handler(
    function: inngest.Function[Any], handler: Callable[..., Any], *, retries: int
) -> inngest.Function[Any]:
    """Copy a function with another handler and other retries."""
    changed = copy.copy(function)
    changed._handler = handler  # noqa: SLF001
    changed._opts = changed._opts.model_copy(update={"retries": retries})  # noqa: SLF001
    return changed


def limit_tries(ctx: Any, tries: int) -> None:
    """Have the steps of a request fail for good at this attempt, whatever the vendor allows."""
    try:
        ctx.step._execution._request.ctx.max_attempts = tries  # noqa: SLF001
    except (AttributeError, ValueError) as error:
        raise InvalidDefinition(
            f"the installed inngest cannot be told how often to try ({error}); adoption knows"
            " 0.5.18 and 0.5.19"
        ) from None


def last_try(error: Exception) -> Exception:
    """Turn an error into one of the same name after which the function is not tried again."""
    if isinstance(error, inngest.NonRetriableError | inngest.StepError):
        return error
    ends: Any = type(type(error).__name__, (inngest.NonRetriableError,), {"__doc__": ""})
    final: Exception = ends(str(error))
    return final.with_traceback(error.__traceback__)


def serializer_of(client: inngest.Inngest) -> Any:
    """Give the client's serializer."""
    return getattr(client, "_serializer", None)


def loaded_functions(
    client: inngest.Inngest, modules: Sequence[Any]
) -> list[inngest.Function[Any]]:
    """Find the client's functions at the top of modules, and in collections and classes there."""
    by_identity: dict[int, inngest.Function[Any]] = {}
    for module in modules:
        name = getattr(module, "__name__", None)
        for value in list(getattr(module, "__dict__", {}).values()):
            inner = [value]
            if isinstance(value, type) and value.__module__ == name:
                inner = list(vars(value).values())
            by_identity.update(
                (id(function), function)
                for member in inner
                for function in _functions(client, member)
            )
    return list(by_identity.values())


def hidden_functions(
    client: inngest.Inngest, loaded: Sequence[inngest.Function[Any]]
) -> list[inngest.Function[Any]]:
    """Find the client's functions that are kept anywhere else; the SDK keeps no list of them."""
    ids = {function.id for function in loaded}
    by_id: dict[str, inngest.Function[Any]] = {}
    for function in gc.get_objects():
        if issubclass(type(function), inngest.Function) and _is_of(client, function):
            by_id.setdefault(function.id, function)
    return [function for full_id, function in by_id.items() if full_id not in ids]


def _functions(
    client: inngest.Inngest, value: Any, depth: int = 2
) -> Iterator[inngest.Function[Any]]:
    if isinstance(value, inngest.Function):
        if _is_of(client, value):
            yield value
    elif depth and isinstance(value, dict | list | tuple | set | frozenset):
        for member in list(value.values() if isinstance(value, dict) else value):
            yield from _functions(client, member, depth - 1)


def _is_of(client: inngest.Inngest, function: inngest.Function[Any]) -> bool:
    return bool(function.id == f"{client.app_id}-{function.local_id}")
