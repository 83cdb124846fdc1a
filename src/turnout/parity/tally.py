"""Counting, in memory that does not grow with the pairs."""

import heapq
import zlib
from array import array
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any, Final, Literal

import orjson

from turnout.parity.ignores import Ignore, covering
from turnout.parity.redaction import Redaction
from turnout.parity.report import (
    Difference,
    FieldCount,
    Kind,
    Outcome,
    SetAside,
    Source,
    TaskCount,
    Timing,
)

MOST_PER_KIND: Final = 500
"""Differences of one kind that are listed; all are counted."""

MOST_SET_ASIDE: Final = 500
MOST_TIMINGS: Final = 400
MOST_PROVIDERS: Final = 8
MOST_VALUE: Final = 2_000
"""Characters of a value that a report repeats."""

EQUAL_READS: Final = 4
"""Documents that are read of a pair whose digests agree: both manifests, both status documents."""

UNKNOWN_TASK: Final = "(unknown)"
SINGLE: Final = "single"


@dataclass(slots=True, kw_only=True)
class Compared:
    """What the comparison of one pair saw."""

    run_id: str
    task: str | None = None
    differences: list[Difference] = field(default_factory=list)
    tested: Counter[tuple[str, Source]] = field(default_factory=Counter)
    """Fields compared, by name and source; those by construction are not tested."""
    missing_twin: bool = False
    overhead: tuple[float, float] | None = None
    documents: int = 0
    fetched: int = 0
    verified: int = 0


@dataclass(slots=True)
class _Task:
    counts: Counter[str] = field(default_factory=Counter)
    kinds: Counter[Kind] = field(default_factory=Counter)
    primary_ms: "array[float]" = field(default_factory=lambda: array("d"))
    shadow_ms: "array[float]" = field(default_factory=lambda: array("d"))
    equal: dict[int, tuple["Counter[tuple[str, Source]]", int, int]] = field(default_factory=dict)
    """Equal pairs by what was compared in them: that, how many, and the documents of each."""


@dataclass(slots=True)
class Tally:
    """Everything counted so far."""

    ignores: Sequence[Ignore] = ()
    redaction: Redaction = field(default_factory=Redaction)
    tasks: dict[str, _Task] = field(default_factory=dict)
    fields: dict[tuple[str, Source], Counter[str]] = field(default_factory=dict)
    listed: list[Difference] = field(default_factory=list)
    per_kind: Counter[Kind] = field(default_factory=Counter)
    set_aside: list[SetAside] = field(default_factory=list)
    ignore_uses: Counter[tuple[str, str]] = field(default_factory=Counter)
    timings: list[tuple[int, str, Timing]] = field(default_factory=list)
    totals: Counter[str] = field(default_factory=Counter)
    providers: dict[Literal["primary", "shadow"], set[str]] = field(default_factory=dict)
    outcomes: dict[str, str] = field(default_factory=dict)
    """What became of the runs whose pair is not matched, so that none is counted twice."""

    def add(self, pair: Compared) -> None:
        """Count one compared pair."""
        found = self._declare(pair.differences)
        outcome = _outcome(found)
        task = self._task(pair.task)
        task.counts.update(["pairs", outcome])
        task.counts["missing"] += pair.missing_twin
        if outcome is not Outcome.MATCHED:
            self.outcomes[pair.run_id] = outcome
        self._list(task, found)
        self._fields(pair, task, found)
        self.totals.update(documents=pair.documents, fetched=pair.fetched, verified=pair.verified)
        if pair.overhead is not None:
            self._timing(pair.run_id, pair.task or UNKNOWN_TASK, task, pair.overhead)

    def add_equal(
        self,
        run_id: str,
        task: str,
        tested: "Counter[tuple[str, Source]]",
        overhead: tuple[float, float],
        *,
        documents: int,
    ) -> None:
        """Count a pair that is equal throughout; `tested` is shared and is folded in at the end."""
        counts = self._task(task)
        again = counts.equal.get(id(tested))
        counts.equal[id(tested)] = (tested, again[1] + 1 if again else 1, documents)
        self._timing(run_id, task, counts, overhead)

    def fold(self) -> None:
        """Fold in the equal pairs; called once, before anything is reported."""
        for task in self.tasks.values():
            for tested, pairs, documents in task.equal.values():
                task.counts.update({"pairs": pairs, Outcome.MATCHED: pairs})
                self.totals.update(documents=pairs * documents, fetched=pairs * EQUAL_READS)
                self._count_fields(tested, task, pairs)
            task.equal.clear()

    def add_late_finding(self, difference: Difference) -> None:
        """Count a difference that shows only when all pairs have been seen."""
        task = self._task(difference.task)
        before = self.outcomes.get(difference.run_id, Outcome.MATCHED)
        if before != Outcome.MISMATCHED:
            self.outcomes[difference.run_id] = Outcome.MISMATCHED
            (self.totals if before == SINGLE else task.counts)[before] -= 1
            task.counts[Outcome.MISMATCHED] += 1
            task.counts["pairs"] += before not in set(Outcome)
        self._list(task, [difference])

    def note_provider(self, side: Literal["primary", "shadow"], provider: str) -> None:
        """Remember who ran a side."""
        known = self.providers.setdefault(side, set())
        if len(known) < MOST_PROVIDERS:
            known.add(provider)

    def put_aside(self, pair: SetAside) -> None:
        """Count a pair that cannot be compared."""
        self._task(pair.task).counts[pair.why] += 1
        self.outcomes[pair.run_id] = pair.why
        if len(self.set_aside) < MOST_SET_ASIDE:
            self.set_aside.append(pair)

    def pass_by(self, run_id: str) -> None:
        """Count a run that was never meant to have a twin."""
        self.totals[SINGLE] += 1
        self.outcomes[run_id] = SINGLE

    def task_counts(self) -> dict[str, TaskCount]:
        """Report the tasks by name."""
        return {name: _count(task) for name, task in sorted(self.tasks.items())}

    def field_counts(self) -> dict[str, FieldCount]:
        """Report the fields by name; one with two sources is listed for each."""
        names = Counter(name for name, _ in self.fields)
        return {
            name if names[name] == 1 else f"{name} ({source})": FieldCount(source=source, **counts)
            for (name, source), counts in sorted(self.fields.items())
        }

    def sample(self) -> list[Timing]:
        """List the sampled overheads by run."""
        return sorted((timing for *_, timing in self.timings), key=lambda each: each.run_id)

    def _task(self, name: str | None) -> _Task:
        return self.tasks.setdefault(name or UNKNOWN_TASK, _Task())

    def _declare(self, differences: Iterable[Difference]) -> list[Difference]:
        """Mark what was declared, and count each ignore's use."""
        marked: list[Difference] = []
        used: set[str] = set()
        for difference in differences:
            ignore = covering(self.ignores, difference)
            if ignore is None:
                marked.append(difference)
                continue
            used.add(ignore.path)
            self.ignore_uses[(ignore.path, "differences")] += 1
            marked.append(difference.model_copy(update={"ignored_by": ignore.path}))
        self.ignore_uses.update((path, "pairs") for path in used)
        return marked

    def _list(self, task: _Task, found: list[Difference]) -> None:
        task.kinds.update({each.kind for each in found if each.ignored_by is None})
        for each in found:
            self.per_kind[each.kind] += 1
            if self.per_kind[each.kind] <= MOST_PER_KIND:
                self.listed.append(_shortened(self.redaction.difference(each)))

    def _fields(self, pair: Compared, task: _Task, found: list[Difference]) -> None:
        self._count_fields(pair.tested, task, 1)
        for each in found:
            counts = self.fields.setdefault((str(each.kind), each.source), Counter())
            counts["mismatched"] += 1

    def _count_fields(self, tested: "Counter[tuple[str, Source]]", task: _Task, pairs: int) -> None:
        for (name, source), count in tested.items():
            counts = self.fields.setdefault((name, source), Counter())
            untested = source is Source.CONSTRUCTION
            counts["not_tested" if untested else "compared"] += count * pairs
            task.counts["not_tested"] += count * pairs if untested else 0

    def _timing(self, run_id: str, name: str, task: _Task, ms: tuple[float, float]) -> None:
        task.primary_ms.append(ms[0])
        task.shadow_ms.append(ms[1])
        # The smallest hashes are a fair sample, and the same one every time.
        rank = -zlib.crc32(run_id.encode(errors="replace"))
        if len(self.timings) < MOST_TIMINGS or rank > self.timings[0][0]:
            sample = Timing(run_id=run_id, task=name, primary_ms=ms[0], shadow_ms=ms[1])
            push = heapq.heappush if len(self.timings) < MOST_TIMINGS else heapq.heapreplace
            push(self.timings, (rank, run_id, sample))


def shortened(value: Any) -> Any:
    """Cut a value that is too long to be repeated, and say so."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, str):
        text = value
    else:
        text = orjson.dumps(value, default=repr).decode(errors="replace")
    if len(text) <= MOST_VALUE:
        return value
    return f"{text[:MOST_VALUE]}… (cut; {len(text)} characters)"


def _shortened(difference: Difference) -> Difference:
    cut = {"primary": shortened(difference.primary), "shadow": shortened(difference.shadow)}
    return difference.model_copy(update=cut)


def _outcome(found: list[Difference]) -> Outcome:
    if not found:
        return Outcome.MATCHED
    if all(each.ignored_by for each in found):
        return Outcome.IGNORED
    return Outcome.MISMATCHED


def _count(task: _Task) -> TaskCount:
    return TaskCount(
        **task.counts,
        kinds=dict(sorted(task.kinds.items())),
        overhead_primary_ms=_median(task.primary_ms),
        overhead_shadow_ms=_median(task.shadow_ms),
    )


def _median(values: "array[float]") -> float | None:
    return round(median(values), 3) if values else None
