"""The order of steps: sequences at the top and within a branch, sets of parallel branches."""

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

from turnout.model.documents import StepEntry

_Placed = tuple[list[tuple[str, str]], str]
"""The (place, branch) pairs of a step below a level, and its id."""

Shape = tuple[Any, ...]
"""Step ids in sequence; parallel branches as one sorted tuple of shapes among them."""


def shape(steps: Sequence[StepEntry]) -> Shape:
    """Write the order in a form that does not depend on the order of parallel branches."""
    return _shape([(_parts(entry.branch), entry.step) for entry in steps])


def first_difference(primary: Sequence[StepEntry], shadow: Sequence[StepEntry]) -> int | None:
    """Find the first place in `primary` where two orders of steps differ; None if they agree."""
    if shape(primary) == shape(shadow):
        return None
    for place, (entry, twin) in enumerate(zip(primary, shadow, strict=False)):
        if (entry.step, entry.branch) != (twin.step, twin.branch):
            return place
    return 0


def _shape(steps: list[_Placed]) -> Shape:
    return tuple(_pieces(steps))


def _pieces(steps: list[_Placed]) -> Iterator[Any]:
    for fork, members in groupby(steps, key=lambda item: item[0][0][0] if item[0] else None):
        if fork is None:
            yield from (step for _, step in members)
        else:
            branches: dict[str, list[_Placed]] = {}
            for ((_, branch), *deeper), step in members:
                branches.setdefault(branch, []).append((deeper, step))
            yield ("parallel", *sorted(map(_shape, branches.values()), key=repr))


def _parts(branch: str) -> list[tuple[str, str]]:
    """Read `0.1/2.0`, or `0.1.2.0`: at place 0 the branch 1, at place 2 in it the branch 0."""
    numbers = branch.replace("/", ".").split(".") if branch else []
    return list(zip(numbers[::2], [*numbers[1::2], ""], strict=False))
