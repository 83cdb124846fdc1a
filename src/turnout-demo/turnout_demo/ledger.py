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
        return [f"the ledger does not balance: {why}" for count, why in counted if count]

    def as_json(self) -> dict[str, object]:
        """Give the ledger as JSON."""
        return {**asdict(self), "balanced": self.balanced, "reasons": self.reasons}


async def ledger(
    store: RunStore, asked: Sequence[str], schedule: Schedule, since: Millis, until: Millis
) -> Ledger:
    """Balance the ids that callers were given against the run store.

    Slots count after `since`, the moment from which the schedule was kept, and before `until`.
    """
    runs = [each for each in await _all(store) if not is_shadow(each.run_id)]
    known = {each.run_id: each for each in runs}
    wanted = [known.get(run_id) for run_id in asked]
    done = [each for each in wanted if each is not None and each.state is RunStatus.COMPLETED]
    starts = Counter((each.task, each.key) for each in runs if each.key is not None)
    return Ledger(
        emitted=len(asked),
        completed=len(done),
        lost=sum(each is None or not each.state.terminal for each in wanted),
        doubled=sum(count - 1 for count in starts.values()) + len(asked) - len(set(asked)),
        by_provider=dict(Counter(each.provider for each in wanted if each is not None)),
        slots=_slots(runs, schedule, since, until),
    )


def _slots(runs: Sequence[Run], schedule: Schedule, since: Millis, until: Millis) -> Slots:
    fired = Counter(each.key for each in runs if each.event == SCHEDULE_EVENT + schedule.id)
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


async def _all(store: RunStore) -> list[Run]:
    found: list[Run] = []
    after = 0
    while True:
        page = await store.runs.find(RunFilter(after=after, limit=PAGE))
        found.extend(page)
        if len(page) < PAGE:
            return found
        after = page[-1].emit_seq
