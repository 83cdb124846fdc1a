"""How many runs of one concurrency key were under way at once, from start and end events."""

from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """What one side of one run held: from when to when (ms), under which key and limit."""

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
class _Line:
    """All that is kept of one key on one side: two numbers, a limit and a name per slot."""

    starts: "array[float]" = field(default_factory=lambda: array("d"))
    ends: "array[float]" = field(default_factory=lambda: array("d"))
    limits: "array[int]" = field(default_factory=lambda: array("q"))
    runs: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Overlaps:
    """Collects slots as pairs stream by; about 120 bytes a slot are kept."""

    lines: dict[tuple[str, str, str], _Line] = field(default_factory=dict)

    def add(self, run_id: str, side: str, slot: Slot) -> None:
        """Take note of one slot."""
        line = self.lines.setdefault((side, slot.task, slot.key), _Line())
        line.starts.append(slot.start_ms)
        line.ends.append(slot.end_ms)
        line.limits.append(slot.limit)
        line.runs.append(run_id)

    def excesses(self) -> Iterator[Excess]:
        """Name every slot that was taken while its key was full.

        A slot given up in the very millisecond in which another is taken is free; one that ends
        before it starts holds nothing.
        """
        for (side, task, key), line in sorted(self.lines.items()):
            for index, at_once in _over(line):
                yield Excess(
                    run_id=line.runs[index],
                    side=side,
                    task=task,
                    key=key,
                    limit=line.limits[index],
                    at_once=at_once,
                    start_ms=line.starts[index],
                )


def _over(line: _Line) -> Iterator[tuple[int, int]]:
    held = [index for index in range(len(line.runs)) if line.ends[index] > line.starts[index]]
    starting = sorted(held, key=line.starts.__getitem__)
    ending = sorted(line.ends[index] for index in held)
    done = 0
    for begun, index in enumerate(starting, start=1):
        while ending[done] <= line.starts[index]:
            done += 1
        if begun - done > line.limits[index]:
            yield index, begun - done
