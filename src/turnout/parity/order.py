"""The order of steps: sequences at the top and within a branch, sets of parallel branches."""

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

from turnout.model.artifacts import StepEntry

Shape = tuple[Any, ...]
"""Step ids in sequence; parallel branches as one sorted tuple of shapes among them."""


def shape(steps: Sequence[StepEntry]) -> Shape:
    """Write the order in a form that is equal wherever only parallel branches changed places."""
    return _shape([(_parts(entry.branch), entry.step) for entry in steps])


def first_difference(primary: Sequence[StepEntry], shadow: Sequence[StepEntry]) -> int | None:
    """Find where two orders of the same steps part, as a place in `primary`; None if they agree."""
    if shape(primary) == shape(shadow):
        return None
    for place, (ours, theirs) in enumerate(zip(primary, shadow, strict=False)):
        if (ours.step, ours.branch) != (theirs.step, theirs.branch):
            return place
    return 0


def _shape(steps: list[tuple[list[str], str]]) -> Shape:
    """`steps` are (branch below this level, step id), in the order of asking."""
    return tuple(_pieces(steps))


def _pieces(steps: list[tuple[list[str], str]]) -> Iterator[Any]:
    for fork, members in groupby(steps, key=lambda item: _fork(item[0])):
        if fork is None:
            yield from (step for _, step in members)
        else:
            branches: dict[str, list[tuple[list[str], str]]] = {}
            for (branch, *deeper), step in members:
                branches.setdefault(branch, []).append((deeper, step))
            yield ("parallel", *sorted((_shape(each) for each in branches.values()), key=repr))


def _fork(branch: list[str]) -> str | None:
    """Name the place where a branch leaves this level: `2` of `2.0`."""
    return branch[0].partition(".")[0] if branch else None


def _parts(branch: str) -> list[str]:
    return branch.split("/") if branch else []
