"""How many runs of one concurrency key ran at once, counted from their starts and ends."""

from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple


class ConcurrencySlot(NamedTuple):
    """The limit slot that one side of one run held: its key and limit, from when to when (ms)."""

    task: str
    key: str
    limit: int
    start_ms: float
    end_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Excess:
    """A run that started while its key was full."""

    run_id: str
    side: str
    task: str
    key: str
    limit: int
    at_once: int
    start_ms: float


@dataclass(slots=True)
class _KeyHistory:
    """All slots of one key on one side, by column: about 120 bytes a slot."""

    starts: "array[float]" = field(default_factory=lambda: array("d"))
    ends: "array[float]" = field(default_factory=lambda: array("d"))
    limits: "array[int]" = field(default_factory=lambda: array("q"))
    runs: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Overlaps:
    """Collects the slots of all pairs."""

    histories: dict[tuple[str, str, str], _KeyHistory] = field(default_factory=dict)

    def add(self, run_id: str, side: str, slot: ConcurrencySlot) -> None:
        """Add the slot of one run."""
        history = self.histories.get((side, slot.task, slot.key))
        if history is None:
            history = self.histories[side, slot.task, slot.key] = _KeyHistory()
        history.starts.append(slot.start_ms)
        history.ends.append(slot.end_ms)
        history.limits.append(slot.limit)
        history.runs.append(run_id)

    def excesses(self) -> Iterator[Excess]:
        """Yield every slot that was taken while its key had no free slot.

        A slot that is freed in the millisecond in which another is taken counts as free. A slot
        that ends before it starts is not counted.
        """
        for (side, task, key), history in sorted(self.histories.items()):
            for index, at_once in _excesses_of(history):
                yield Excess(
                    run_id=history.runs[index],
                    side=side,
                    task=task,
                    key=key,
                    limit=history.limits[index],
                    at_once=at_once,
                    start_ms=history.starts[index],
                )


def _excesses_of(history: _KeyHistory) -> Iterator[tuple[int, int]]:
    """Go over the starts in order; yield index and number of runs where these are too many."""
    lasting = [
        index for index in range(len(history.runs)) if history.ends[index] > history.starts[index]
    ]
    ends = sorted(history.ends[index] for index in lasting)
    ended = 0
    for begun, index in enumerate(sorted(lasting, key=history.starts.__getitem__), start=1):
        while ends[ended] <= history.starts[index]:
            ended += 1
        if begun - ended > history.limits[index]:
            yield index, begun - ended
