"""Finds pairs in a sorted stream of run names, in little memory.

`-` and `.` sort before `/`, so `a-dryrun/…` comes before `a/…`, and all names between them
start with `a-` or `a.`. So only those shadows wait for their primary whose primary's name is a
prefix of the current name; the others have no primary.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Final

SHADOW: Final = "-dryrun"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """One run's two sides; a side that is not in the store is None."""

    run_id: str
    primary: str | None
    shadow: str | None


async def pairs(names: AsyncIterator[str]) -> AsyncIterator[Pair]:
    """Pair run names that come sorted as if each ended with `/`; each name comes once."""
    waiting: list[str] = []
    async for name in names:
        while waiting and not name.startswith(waiting[-1]):
            yield _alone(waiting.pop())
        if name.endswith(SHADOW) and name != SHADOW:
            waiting.append(name.removesuffix(SHADOW))
        elif waiting and waiting[-1] == name:
            yield Pair(run_id=waiting.pop(), primary=name, shadow=name + SHADOW)
        else:
            yield Pair(run_id=name, primary=name, shadow=None)
    while waiting:
        yield _alone(waiting.pop())


def _alone(run_id: str) -> Pair:
    return Pair(run_id=run_id, primary=None, shadow=run_id + SHADOW)
