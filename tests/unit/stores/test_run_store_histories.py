"""Random histories of slots, deliveries and keys, compared with small, simple models."""

import asyncio
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule
from turnout_testing.conformance.run_store import T0, emission, new_run

from turnout.errors import RunEnded, Superseded
from turnout.model.runs import RunFilter
from turnout.model.status import DeliveryState, RunStatus
from turnout.model.transitions import end
from turnout.stores.sql import open_run_store

QUICK = settings(
    max_examples=25,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)


class Machine(RuleBasedStateMachine):
    """A store in memory, and a loop to call it on."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.store = open_run_store("sqlite://")
        self.count = 0
        self.now = T0

    def do(self, call: Any) -> Any:
        return self.runner.run(call)

    def end(self, run_id: str) -> None:
        run = self.do(self.store.journals.load(run_id)).run
        change = end(run, RunStatus.COMPLETED, self.now)
        assert change is not None
        assert self.do(self.store.journals.apply(change))

    def teardown(self) -> None:
        self.do(self.store.close())
        self.runner.close()


class Slots(Machine):
    """Runs of one limited task: emitted, asking, ending, some of them delayed."""

    limit = 2

    def __init__(self) -> None:
        super().__init__()
        self.due: dict[str, int] = {}
        self.asked: set[str] = set()
        self.held: set[str] = set()
        self.woken: set[str] = set()
        """Those that were woken and have not asked since: they may have been handed a slot."""

    @rule(delay=st.sampled_from([0, 0, 0, 5]))
    def emits(self, delay: int) -> None:
        name = f"r{self.count}"
        self.count += 1
        run = new_run(name, limit_key="null", emitted_at=self.now, due_at=self.now + delay)
        self.do(self.store.events.emit([emission(run, slotted=True)]))
        self.due[name] = self.now + delay

    @precondition(lambda self: self.due)
    @rule(pick=st.integers(0, 99))
    def asks(self, pick: int) -> None:
        due = [name for name, at in self.due.items() if at <= self.now]
        if due:
            self.ask(due[pick % len(due)])

    @precondition(lambda self: self.held)
    @rule(pick=st.integers(0, 99))
    def ends_a_holder(self, pick: int) -> None:
        self.over(sorted(self.held)[pick % len(self.held)])

    @precondition(lambda self: self.due)
    @rule(pick=st.integers(0, 99))
    def gives_up(self, pick: int) -> None:
        self.over(list(self.due)[pick % len(self.due)])

    @rule()
    def waits(self) -> None:
        self.now += 3

    def ask(self, name: str) -> None:
        self.note_wakes()
        due = [each for each in self.due if self.due[each] <= self.now]
        before = set(due[: due.index(name)]) - self.held
        handed = name in self.woken
        had, room = name in self.held, self.limit - len(self.held | self.woken - {name})
        got = self.do(self.store.limits.take_slot(name, None, self.limit, self.now))
        self.asked.add(name)
        self.woken.discard(name)
        if had:
            assert got
        elif got:
            assert handed or before <= self.woken, "a run that waits is overtaken"
            self.held.add(name)
        else:
            assert before or room <= 0, "a run waits though its turn has come"
        assert len(self.held) <= self.limit

    def note_wakes(self) -> None:
        for wake in self.do(self.store.due.take_wakes(self.now, limit=99, resend=10**6)):
            self.do(self.store.deliveries.claim(wake.run_id, 1, "v", self.now))
            self.woken.add(wake.run_id)

    def over(self, name: str) -> None:
        self.end(name)
        self.held.discard(name)
        self.woken.discard(name)
        self.asked.discard(name)
        del self.due[name]

    def teardown(self) -> None:
        """Whoever waits is woken in turn: with every holder ending, everybody gets through."""
        self.now += 10
        for _ in range(2 * len(self.due) + 2):
            for name in [each for each in self.due if each not in self.asked]:
                self.ask(name)
            self.note_wakes()
            for name in sorted(self.woken):
                self.ask(name)
            for name in sorted(self.held)[:1]:
                self.over(name)
        assert not self.due
        super().teardown()


class Handing(Machine):
    """Keys and deliveries: emitted again, claimed, moved, ended."""

    def __init__(self) -> None:
        super().__init__()
        self.keys: dict[tuple[str, str], str] = {}
        self.live: dict[str, int] = {}
        self.holders: dict[tuple[str, int], str] = {}
        self.over: set[str] = set()

    @rule(task=st.sampled_from("ab"), key=st.sampled_from("kl"))
    def emits(self, task: str, key: str) -> None:
        name = f"r{self.count}"
        self.count += 1
        (told,) = self.do(self.store.events.emit([emission(new_run(name, task, key=key))]))
        first = self.keys.setdefault((task, key), name)
        assert [(ref.run_id, ref.duplicate) for ref in told.runs] == [(first, first != name)]
        self.live.setdefault(first, 1)

    @precondition(lambda self: self.live)
    @rule(pick=st.integers(0, 9), number=st.integers(1, 3), vendor=st.sampled_from("vw"))
    def calls(self, pick: int, number: int, vendor: str) -> None:
        name = list(self.live)[pick % len(self.live)]
        holder = self.holders.get((name, number))
        expected: type[Exception] | None = None
        refused: type[Exception] | None
        if number != self.live[name] or holder not in {None, vendor}:
            expected = Superseded
        elif name in self.over:
            expected = RunEnded
        try:
            journal = self.do(self.store.deliveries.claim(name, number, vendor, self.now))
        except (Superseded, RunEnded) as error:
            refused = type(error)
        else:
            refused = None
            assert journal.run.delivery == number
            self.holders[name, number] = vendor
        assert refused is expected

    @precondition(lambda self: self.live)
    @rule(pick=st.integers(0, 9), number=st.integers(1, 3), provider=st.sampled_from("xy"))
    def redelivers(self, pick: int, number: int, provider: str) -> None:
        name = list(self.live)[pick % len(self.live)]
        done = self.do(self.store.deliveries.redeliver(name, number, provider, self.now))
        assert done is (number == self.live[name] and name not in self.over)
        self.live[name] += int(done)

    @precondition(lambda self: self.live)
    @rule(pick=st.integers(0, 9))
    def ends(self, pick: int) -> None:
        name = list(self.live)[pick % len(self.live)]
        if name not in self.over:
            self.end(name)
            self.over.add(name)

    def teardown(self) -> None:
        """Each key has one run, and each run one delivery that may be live, the last."""
        found = self.do(self.store.runs.find(RunFilter()))
        assert {run.run_id for run in found} == set(self.live)
        for name, number in self.live.items():
            *old, last = self.do(self.store.deliveries.read(name))
            assert last.number == number
            assert {each.state for each in old} <= {DeliveryState.SUPERSEDED}
            assert (last.state is DeliveryState.ENDED) is (name in self.over)
        super().teardown()


TestSlots = Slots.TestCase
TestSlots.settings = QUICK
TestHanding = Handing.TestCase
TestHanding.settings = QUICK
