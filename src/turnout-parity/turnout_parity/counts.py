"""Counts over all pairs; the memory grows by a few numbers per pair."""

import heapq
import zlib
from array import array
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from types import MappingProxyType
from typing import Any, Final

import orjson

from turnout.model.documents import Source
from turnout_parity.explain import Explainer
from turnout_parity.faults import SideName
from turnout_parity.ignores import Ignore, covering
from turnout_parity.pair_result import PairResult
from turnout_parity.redaction import Redaction
from turnout_parity.report import (
    Difference,
    FieldCount,
    Kind,
    PairOutcome,
    SetAside,
    TaskCount,
    Timing,
)

KIND_LIMIT: Final = 500
"""Differences of one kind that are listed; all are counted."""

SET_ASIDE_LIMIT: Final = 500
TIMING_LIMIT: Final = 400
PROVIDER_LIMIT: Final = 8
VALUE_LIMIT: Final = 2_000
"""Characters of a value that a report repeats."""

UNKNOWN_TASK: Final = "(unknown)"
SINGLE: Final = "single"


@dataclass(slots=True)
class _TaskCounts:
    """The counts of one task."""

    counts: Counter[str] = field(default_factory=Counter)
    kinds: Counter[Kind] = field(default_factory=Counter)
    primary_ms: "array[float]" = field(default_factory=lambda: array("d"))
    shadow_ms: "array[float]" = field(default_factory=lambda: array("d"))


@dataclass(slots=True)
class Counts:
    """All counts of a check."""

    ignores: Sequence[Ignore] = ()
    redaction: Redaction = field(default_factory=Redaction)
    explain: Explainer = field(default_factory=Explainer)
    tasks: dict[str, _TaskCounts] = field(default_factory=dict)
    fields: dict[tuple[Kind, Source], Counter[str]] = field(default_factory=dict)
    listed: list[Difference] = field(default_factory=list)
    per_kind: Counter[Kind] = field(default_factory=Counter)
    set_aside: list[SetAside] = field(default_factory=list)
    ignore_uses: Counter[tuple[str, str]] = field(default_factory=Counter)
    timings: list[tuple[int, str, Timing]] = field(default_factory=list)
    totals: Counter[str] = field(default_factory=Counter)
    providers: dict[SideName, set[str]] = field(default_factory=dict)
    outcomes: dict[str, str] = field(default_factory=dict)
    """The outcome of each run whose pair is not matched, so that none is counted twice."""

    def add(self, pair: PairResult) -> None:
        """Count one compared pair."""
        task = self._task(pair.task)
        differences = self._mark_ignored(pair.differences) if pair.differences else []
        outcome = _outcome(differences)
        task.counts["pairs"] += 1
        task.counts[outcome.value] += 1
        task.counts["missing"] += pair.twin_missing
        if outcome is not PairOutcome.MATCHED:
            self.outcomes[pair.run_id] = outcome.value
            # Values are explained as they are listed, in the order of the pairs, so that two
            # checks of one store explain the same ones.
            self._list(task, differences, pair.differing_values)
        self._count_fields(pair, task, differences)
        self.totals["documents"] += pair.documents
        self.totals["fetched"] += pair.fetched
        self.totals["verified"] += pair.verified
        if pair.overhead is not None:
            self._count_overhead(pair.run_id, pair.task or UNKNOWN_TASK, task, pair.overhead)

    def add_late_finding(self, difference: Difference) -> None:
        """Count a difference that is found only after all pairs were compared."""
        task = self._task(difference.task)
        before = self.outcomes.get(difference.run_id, PairOutcome.MATCHED.value)
        if before != PairOutcome.MISMATCHED:
            self.outcomes[difference.run_id] = PairOutcome.MISMATCHED.value
            (self.totals if before == SINGLE else task.counts)[before] -= 1
            task.counts[PairOutcome.MISMATCHED.value] += 1
            task.counts["pairs"] += before not in set(PairOutcome)
        self._list(task, [difference])

    def add_provider(self, side: SideName, provider: str) -> None:
        """Record that a provider ran a side."""
        providers = self.providers.setdefault(side, set())
        if len(providers) < PROVIDER_LIMIT:
            providers.add(provider)

    def add_set_aside(self, pair: SetAside) -> None:
        """Count a pair that is not compared."""
        self._task(pair.task).counts[pair.why] += 1
        self.outcomes[pair.run_id] = pair.why
        if len(self.set_aside) < SET_ASIDE_LIMIT:
            self.set_aside.append(pair)

    def add_single(self, run_id: str) -> None:
        """Count a run that was never meant to have a twin."""
        self.totals[SINGLE] += 1
        self.outcomes[run_id] = SINGLE

    def task_counts(self) -> dict[str, TaskCount]:
        """Report the tasks by name."""
        return {name: _report_task(task) for name, task in sorted(self.tasks.items())}

    def times(self) -> dict[str, tuple[Sequence[float], Sequence[float]]]:
        """Return all overheads by task, in the order of the runs: of primaries, of shadows."""
        return {name: (task.primary_ms, task.shadow_ms) for name, task in self.tasks.items()}

    def field_counts(self) -> dict[str, FieldCount]:
        """Report the fields by name; one with two sources is listed for each."""
        names = Counter(kind for kind, _ in self.fields)
        return {
            str(kind) if names[kind] == 1 else f"{kind} ({source})": FieldCount(
                source=source, **counts
            )
            for (kind, source), counts in sorted(self.fields.items())
        }

    def sample(self) -> list[Timing]:
        """List the sampled overheads by run."""
        return sorted((timing for *_, timing in self.timings), key=lambda timing: timing.run_id)

    def _task(self, name: str | None) -> _TaskCounts:
        task = self.tasks.get(name or UNKNOWN_TASK)
        if task is None:
            task = self.tasks[name or UNKNOWN_TASK] = _TaskCounts()
        return task

    def _mark_ignored(self, differences: Iterable[Difference]) -> list[Difference]:
        """Mark the declared differences, and count each ignore's use."""
        marked: list[Difference] = []
        used: set[str] = set()
        for difference in differences:
            ignore = covering(self.ignores, difference)
            if ignore is None:
                marked.append(difference)
                continue
            used.add(ignore.path)
            self.ignore_uses[ignore.path, "differences"] += 1
            marked.append(difference.model_copy(update={"ignored_by": ignore.path}))
        self.ignore_uses.update((path, "pairs") for path in used)
        return marked

    def _list(
        self,
        task: _TaskCounts,
        differences: Sequence[Difference],
        values: Mapping[int, tuple[Any, Any]] = MappingProxyType({}),
    ) -> None:
        task.kinds.update({entry.kind for entry in differences if entry.ignored_by is None})
        for position, difference in enumerate(differences):
            self.per_kind[difference.kind] += 1
            if self.per_kind[difference.kind] <= KIND_LIMIT:
                shown = _shortened(self.redaction.difference(difference))
                if position in values:
                    explanation = self.explain(*values[position])
                    shown = shown.model_copy(update={"explanation": explanation})
                self.listed.append(shown)

    def _count_fields(
        self, pair: PairResult, task: _TaskCounts, differences: Sequence[Difference]
    ) -> None:
        for kind, source, times in pair.compared:
            if source is Source.CONSTRUCTION:
                self._field(kind, source)["not_tested"] += times
                task.counts["not_tested"] += times
            else:
                self._field(kind, source)["compared"] += times
        for difference in differences:
            self._field(difference.kind, difference.source)["mismatched"] += 1

    def _field(self, kind: Kind, source: Source) -> Counter[str]:
        counts = self.fields.get((kind, source))
        if counts is None:
            counts = self.fields[kind, source] = Counter()
        return counts

    def _count_overhead(
        self, run_id: str, name: str, task: _TaskCounts, ms: tuple[float, float]
    ) -> None:
        task.primary_ms.append(ms[0])
        task.shadow_ms.append(ms[1])
        # The runs with the smallest hashes are a random sample, and the same in every check.
        rank = -zlib.crc32(run_id.encode(errors="replace"))
        full = len(self.timings) >= TIMING_LIMIT
        if not full or rank > self.timings[0][0]:
            timing = Timing(run_id=run_id, task=name, primary_ms=ms[0], shadow_ms=ms[1])
            push = heapq.heapreplace if full else heapq.heappush
            push(self.timings, (rank, run_id, timing))


def shortened(value: Any) -> Any:
    """Cut a value that is too long to be repeated, and say so."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, str):
        text = value
    else:
        text = orjson.dumps(value, default=repr).decode(errors="replace")
    if len(text) <= VALUE_LIMIT:
        return value
    return f"{text[:VALUE_LIMIT]}… (cut; {len(text)} characters)"


def _shortened(difference: Difference) -> Difference:
    values = {"primary": shortened(difference.primary), "shadow": shortened(difference.shadow)}
    return difference.model_copy(update=values)


def _outcome(differences: Sequence[Difference]) -> PairOutcome:
    if not differences:
        return PairOutcome.MATCHED
    if all(difference.ignored_by for difference in differences):
        return PairOutcome.IGNORED
    return PairOutcome.MISMATCHED


def _report_task(task: _TaskCounts) -> TaskCount:
    return TaskCount(
        **task.counts,
        kinds=dict(sorted(task.kinds.items())),
        overhead_primary_ms=_median(task.primary_ms),
        overhead_shadow_ms=_median(task.shadow_ms),
    )


def _median(values: "array[float]") -> float | None:
    return round(median(values), 3) if values else None
