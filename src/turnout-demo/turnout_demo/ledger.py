"""The ledger: what was emitted against what the run store says became of it."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field

from turnout.control.emissions import SCHEDULE_EVENT
from turnout.model.ids import is_shadow
from turnout.model.runs import Run, RunFilter
from turnout.model.schedules import Schedule
from turnout.model.status import RunStatus
from turnout.model.time import Millis, iso
from turnout.ports.run_store import RunStore

PAGE = 500
MOST_NAMED = 5
"""Missed slots that a reason names."""
SETTLED: Millis = 25_000
"""A slot that nobody ticked is made up by then; a younger one may still be on its way."""


@dataclass(frozen=True, kw_only=True)
class Slots:
    """The schedule's due times: how many there were, fired, were missed, fired twice."""

    due: int = 0
    fired: int = 0
    missed: int = 0
    doubled: int = 0
    missed_at: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Ledger:
    """emitted: runs that were asked for, children and scheduled ones apart."""

    emitted: int
    completed: int
    lost: int
    doubled: int
    by_provider: dict[str, int] = field(default_factory=dict)
    by_origin: dict[str, int] = field(default_factory=dict)
    """Why runs exist, of all runs but shadows: event, slot, catch_up, manual, redelivery, retry."""
    slots: Slots = field(default_factory=Slots)

    @property
    def balanced(self) -> bool:
        """Whether everything that was asked for happened once."""
        return not self.reasons

    @property
    def reasons(self) -> list[str]:
        """Why it does not balance; nothing when it does."""
        slots = self.slots
        at = ", ".join(slots.missed_at[:MOST_NAMED])
        unfinished = self.emitted - self.completed - self.lost
        counted = (
            (self.lost, f"{self.lost} of {self.emitted} emitted run(s) did not end"),
            (unfinished, f"{unfinished} of {self.emitted} emitted run(s) ended, not completed"),
            (self.doubled, f"{self.doubled} run(s) started twice"),
            (slots.missed, f"{slots.missed} of {slots.due} due schedule slot(s) not fired: {at}"),
            (slots.doubled, f"{slots.doubled} schedule slot(s) fired twice"),
        )
        return [f"the ledger does not balance: {reason}" for count, reason in counted if count]

    def as_json(self) -> dict[str, object]:
        """Give the ledger as JSON."""
        return {**asdict(self), "balanced": self.balanced, "reasons": self.reasons}


async def ledger(
    store: RunStore, run_ids: Sequence[str], schedule: Schedule, since: Millis, until: Millis
) -> Ledger:
    """Balance the ids that callers were given against the run store.

    Slots count after `since`, the moment from which the schedule was kept, and before `until`.
    """
    runs = [run for run in await _all_runs(store) if not is_shadow(run.run_id)]
    by_id = {run.run_id: run for run in runs}
    emitted = [by_id.get(run_id) for run_id in run_ids]
    completed = [run for run in emitted if run is not None and run.state is RunStatus.COMPLETED]
    starts = Counter((run.task, run.key) for run in runs if run.key is not None)
    return Ledger(
        emitted=len(run_ids),
        completed=len(completed),
        lost=sum(run is None or not run.state.terminal for run in emitted),
        doubled=sum(count - 1 for count in starts.values()) + len(run_ids) - len(set(run_ids)),
        by_provider=dict(Counter(run.provider for run in emitted if run is not None)),
        by_origin=dict(Counter(run.origin.value for run in runs)),
        slots=_slots(runs, schedule, since, until),
    )


def _slots(runs: Sequence[Run], schedule: Schedule, since: Millis, until: Millis) -> Slots:
    of_slots = [run for run in runs if run.event == SCHEDULE_EVENT + schedule.id]
    # A retry of a slot's run has the slot's event, and no key: it fires no slot.
    fired = Counter(run.key for run in of_slots if run.key is not None)
    due: dict[str, Millis] = {}
    for slot in schedule.slots(since):
        if slot >= until:
            break
        key = f"{schedule.id}@{slot}"
        if slot < until - SETTLED or fired[key]:
            due[key] = slot
    missed = [iso(slot) for key, slot in due.items() if not fired[key]]
    return Slots(
        due=len(due),
        fired=len(due) - len(missed),
        missed=len(missed),
        doubled=sum(count - 1 for count in fired.values()),
        missed_at=tuple(missed),
    )


async def _all_runs(store: RunStore) -> list[Run]:
    runs: list[Run] = []
    after = 0
    while True:
        page = await store.runs.find(RunFilter(after=after, limit=PAGE))
        runs.extend(page)
        if len(page) < PAGE:
            return runs
        after = page[-1].emit_seq
