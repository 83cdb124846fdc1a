"""Methods of the run store's parts: a function of a transaction becomes one operation."""

from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeAlias, TypeVar

from turnout.ports.run_store import RunStore
from turnout.stores.sql.committer import Committer
from turnout.stores.sql.statements import Transaction

P = ParamSpec("P")
Result = TypeVar("Result")

Work: TypeAlias = Callable[Concatenate[Any, Transaction, P], Result]
Method: TypeAlias = Callable[Concatenate[Any, P], Coroutine[Any, Any, Result]]


class StorePart:
    """A part of the run store: it shares the committer with the others."""

    def __init__(self, committer: Committer) -> None:
        self.committer = committer


def committer_of(store: RunStore) -> Committer:
    """Return what commits for all parts of a run store, so that others can be added to it."""
    part = store.identity
    assert isinstance(part, StorePart), "the run store is in SQL"
    return part.committer


def reads(name: str) -> Callable[[Work[P, Result]], Method[P, Result]]:
    """Make a method that reads, as one consistent view."""

    def decorate(work: Work[P, Result]) -> Method[P, Result]:
        @wraps(work)
        async def method(self: StorePart, /, *args: P.args, **kwargs: P.kwargs) -> Result:
            return await self.committer.read(name, lambda tx: work(self, tx, *args, **kwargs))

        return method

    return decorate


def writes(
    name: str, *, key: str | None = None, light: bool = False
) -> Callable[[Work[P, Result]], Method[P, Result]]:
    """Make a method that writes, committed with others.

    Operations of one key keep their order: the key named here, else the first argument, which is
    the id of a run or a schedule. light: whether a loss of power may undo it.
    """

    def decorate(work: Work[P, Result]) -> Method[P, Result]:
        @wraps(work)
        async def method(self: StorePart, /, *args: P.args, **kwargs: P.kwargs) -> Result:
            order = str(next(iter((*args, *kwargs.values())))) if key is None else key
            return await self.committer.write(
                name, lambda tx: work(self, tx, *args, **kwargs), order, light=light
            )

        return method

    return decorate
