"""What one invocation records, call by call, without a server: names, chains, and older records."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import pytest
import restate
from turnout_restate.run_loop import LONGEST_CHAIN, MOST_CHAINED, Memo, RunLoop

from turnout.errors import Unavailable
from turnout.model.protocol import PROTOCOL, Executed, Next, Outcome, Receipt, Start
from turnout.model.status import RunStatus
from turnout.ports.worker import Worker

FIELDS = {
    "protocol": PROTOCOL,
    "definition": "0" * 64,
    "task": "task",
    "run_id": "run",
    "delivery": 1,
    "provider_run_id": "inv_1",
}


@dataclass(kw_only=True)
class Clock:
    """A clock that goes on by sleeps, and by steps."""

    at: int = 1_000_000

    def now(self) -> int:
        """Read it."""
        return self.at

    async def sleep(self, milliseconds: float) -> None:
        """Go on, after everyone else's turn."""
        await asyncio.sleep(0)
        self.at += round(milliseconds)


@dataclass(kw_only=True)
class Record:
    """The vendor's record of one invocation: names with results, recalled in order."""

    entries: list[tuple[str, Memo]] = field(default_factory=list)
    position: int = 0

    async def run_typed(self, name: str, call: Callable[[], Awaitable[Memo]], _: Any) -> Memo:
        """Recall the next entry, whose name must be this one, or make the call."""
        if self.position == len(self.entries):
            self.entries.append((name, await call()))
        recorded, memo = self.entries[self.position]
        assert recorded == name, "the server refuses another name in this place"
        self.position += 1
        return memo

    @property
    def names(self) -> Sequence[str]:
        """The entries' names."""
        return [name for name, _ in self.entries]


@dataclass(kw_only=True)
class Steps:
    """A worker whose run has so many steps, one after the other, each of them this long."""

    count: int
    clock: Clock
    lasts: int = 0
    done: int = 0
    unavailable_at: int | None = None
    busy: bool = False
    """Whether another worker holds the attempt, so that nothing changes."""
    calls: int = 0

    async def answer(self, call: Any) -> Any:
        """Answer `advance` and `execute`."""
        self.calls += 1
        if call.op == "advance":
            return self._next()
        if self.done == self.unavailable_at:
            self.unavailable_at = None
            raise Unavailable
        outcome = Outcome.BUSY if self.busy else Outcome.COMPLETED
        self.busy = self.busy and self.calls < 5
        self.done += outcome is Outcome.COMPLETED
        self.clock.at += self.lasts
        receipt = Receipt(step=call.step, attempt=call.attempt, outcome=outcome, duration_ms=0)
        return Executed(receipt=receipt, next=self._next())

    def _next(self) -> Next:
        state = RunStatus.COMPLETED if self.done == self.count else RunStatus.RUNNING
        step = f"step {self.done}"
        start = Start(step=step, index=self.done, attempt=1, timeout_ms=None, label=f"{step} #1")
        ready = [] if state.terminal else [start]
        return Next.model_validate(
            {
                "seq": self.done,
                "state": state,
                "run": ready,
                "park": None,
                "progress": {"completed": self.done, "current": []},
            }
        )


async def _pass(steps: Steps, record: Record) -> Memo:
    """Make one pass over the invocation."""
    record.position = 0
    context = cast(restate.Context, record)
    loop = RunLoop(context, FIELDS, worker=cast(Worker, steps), clock=steps.clock)
    return await loop.run()


async def test_short_steps_share_a_recorded_call_and_a_note_names_them() -> None:
    """A call makes so many attempts at most; the names of all are in the record, once."""
    steps, record = Steps(count=2 * MOST_CHAINED + 1, clock=Clock()), Record()
    result = await _pass(steps, record)
    assert result["run_id"] == "run"
    first = " | ".join(f"step {number} #1" for number in range(MOST_CHAINED))
    others = [f"step {number} #1" for number in range(MOST_CHAINED, 2 * MOST_CHAINED)]
    last = f"step {2 * MOST_CHAINED} #1"
    assert record.names == ["advance", first, others[0], " | ".join(others[1:]), last]


async def test_a_step_that_takes_its_time_has_a_recorded_call_of_its_own() -> None:
    """No call goes on for long: an operator sees in the record where a run is."""
    steps, record = Steps(count=3, clock=Clock(), lasts=LONGEST_CHAIN), Record()
    await _pass(steps, record)
    assert record.names == ["advance", "step 0 #1", "step 1 #1", "step 2 #1"]


async def test_a_record_of_earlier_versions_goes_on() -> None:
    """Their calls made one attempt each and recorded no names: none is asked for in their place."""
    steps, record = Steps(count=4, clock=Clock(), lasts=LONGEST_CHAIN), Record()
    await _pass(steps, record)
    earlier = [(name, _without_names(memo)) for name, memo in record.entries if name != "step 0 #1"]
    for length in range(1, len(earlier) + 1):
        again = Steps(count=4, clock=Clock(), done=min(length, 4))
        resumed = Record(entries=earlier[:length])
        await _pass(again, resumed)
        assert resumed.names[:length] == [name for name, _ in earlier[:length]]
        assert again.done == 4


@pytest.mark.parametrize("failing_at", range(5))
async def test_a_call_that_fails_on_its_way_is_made_again(failing_at: int) -> None:
    """Nothing is recorded of it; the attempts that it has made are not made twice."""
    steps = Steps(count=5, clock=Clock(), unavailable_at=failing_at)
    record = Record()
    with pytest.raises(restate.exceptions.RetryableError):
        await _pass(steps, record)
    assert record.names == []
    await _pass(steps, record)
    assert steps.done == 5


async def test_an_attempt_that_another_holds_is_asked_for_again_after_a_pause() -> None:
    """An answer in which nothing has changed leads to nothing within the same call."""
    steps, record = Steps(count=1, clock=Clock(), busy=True), Record()
    began = steps.clock.now()
    await _pass(steps, record)
    assert record.names[0] == "advance"
    assert len(record.names) > 2
    assert steps.clock.now() > began, "it paused"


def _without_names(memo: Memo) -> Memo:
    return {key: value for key, value in memo.items() if key != "unnamed"}
