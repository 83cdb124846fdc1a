"""Whatever a task function looks like, its replay keeps its promises."""

from collections.abc import Callable
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from programs import Node, programs, task_of
from pure_run import PureRun, bad, ok, positions

from turnout.driver.decision import Decision
from turnout.driver.replay import replay
from turnout.model.events import StoredEvent
from turnout.model.runs import Journal
from turnout.model.status import ParkReason, RunStatus


def shape(decision: Decision) -> Any:
    """What a decision says, without the commands' identities."""
    return (
        decision.new_steps,
        decision.steps,
        [(each.command.id, each.attempt, each.index) for each in decision.ready],
        decision.until,
        decision.reasons,
        decision.state,
        decision.result,
        decision.error,
        decision.current,
        decision.unasked,
    )


def finish(
    run: PureRun, draw: Callable[[st.SearchStrategy[Any]], Any], *, failures: bool = True
) -> None:
    """Take a run to its end in an order that is drawn, checking every step of the way."""
    outcomes = [ok(1), ok(1), bad()] if failures else [ok(1)]
    done: set[tuple[str, int]] = set()
    for _ in range(200):
        check(run)
        if run.decision.state is not RunStatus.RUNNING:
            return
        before = dict(positions(run.journal))
        if run.decision.ready:
            chosen = draw(st.sampled_from([each.command.id for each in run.decision.ready]))
            run.execute(chosen, draw(st.sampled_from(outcomes)))
            assert run.executed[-1] not in done
            done.add(run.executed[-1])
        elif ParkReason.EVENT in run.decision.reasons and draw(st.booleans()):
            meet_first(run)
        else:
            assert run.decision.until is not None
            run.now = max(run.now + 1, run.decision.until)
            run.look()
        after = positions(run.journal)
        assert {step: after[step] for step in before} == before
    raise AssertionError("the program did not end")


def meet_first(run: PureRun) -> None:
    """Let an event meet every open wait, one after another."""
    event = StoredEvent(event_id="e", name="e", payload=b"1", emitted_at=run.now)
    open_waits = [each for each in run.waits if each.step in run.decision.current]
    run.waits = open_waits
    run.meet(event)


def check(run: PureRun) -> None:
    """Replay is deterministic, and never asks for what is committed."""
    if run.decision.state is not RunStatus.RUNNING:
        return
    again = [replay(run.task, run.journal, run.now, run.effects) for _ in range(2)]
    assert shape(again[0]) == shape(again[1])
    assert again[0].new_steps == []
    settled = {name for name, each in run.journal.steps.items() if each.state.settled}
    assert settled.isdisjoint(each.command.id for each in again[0].ready)
    assert settled.isdisjoint(again[0].current)
    assert again[0].ready or again[0].reasons


@settings(max_examples=100, deadline=None)
@given(program=programs, data=st.data())
def test_every_program_ends_and_repeats_nothing(program: Node, data: st.DataObject) -> None:
    """Replays agree, positions stay, no committed attempt runs again, and the run ends."""
    run = PureRun(task_of(program))
    finish(run, data.draw)
    assert run.decision.result is not None or run.decision.error is not None
    assert len(set(positions(run.journal).values())) == len(run.journal.steps)
    assert all(each.state.settled for each in run.journal.steps.values())


@settings(max_examples=40, deadline=None)
@given(program=programs, data=st.data())
def test_the_order_of_events_does_not_change_positions(program: Node, data: st.DataObject) -> None:
    """On one path through a function its steps have their places, whatever finished first."""
    runs = [PureRun(task_of(program)) for _ in range(2)]
    for run in runs:
        finish(run, data.draw, failures=False)
    one, other = (positions(run.journal) for run in runs)
    assert one == other


def test_a_journal_is_not_changed_by_replay() -> None:
    """Replay reads: the journal it was given is as before."""
    run = PureRun(task_of(("seq", [("step", True), ("emit",)])))
    before = Journal(run=run.journal.run, steps=dict(run.journal.steps))
    replay(run.task, run.journal, run.now, run.effects)
    assert run.journal.steps == before.steps
