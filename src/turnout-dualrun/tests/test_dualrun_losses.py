"""A shadow whose worker dies or is stopped repeats its primary all the same."""

import asyncio
from typing import Any, Final, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from turnout_dualrun.bodies import ShadowBodies
from turnout_dualrun.feeder import not_comparable
from turnout_dualrun.recordings import Recordings
from turnout_testing.clock import TurnableClock
from turnout_testing.conformance.run_store_values import T0, new_attempt, new_run, new_step

from turnout import Context, app, task
from turnout.driver.context import StepContext
from turnout.driver.retries import BodyOutcome, interrupt_attempt, lose_attempt, settle_attempt
from turnout.model.policies import Retries
from turnout.model.runs import Attempt, Failure, Journal, Step
from turnout.model.status import AttemptState, StepState
from turnout.projection.timings import timings
from turnout.worker.bodies import Bodies

RETRIES: Final = Retries(max_attempts=4, min_delay="1s", max_delay="1s", jitter=0)
FAILED: Final = BodyOutcome(error=Failure(name="Broken", message="once more"))
COMPLETED: Final = BodyOutcome(output=b'"output"')


@task("t")
async def repeated(_ctx: Context, _payload: dict[str, Any]) -> None:
    """Do nothing; its journals are made by hand."""


class Primaries:
    """The journals of one primary."""

    def __init__(self, journal: Journal) -> None:
        self.journal = journal

    async def load(self, _run_id: str, /) -> Journal:
        """Read the journal."""
        return self.journal


def tried(outcomes: list[BodyOutcome], run_id: str = "r") -> Journal:
    """Make the journal of a run whose one step was tried with these outcomes."""
    step, attempts = new_step(), tuple[Attempt, ...]()
    for number, outcome in enumerate(outcomes, start=1):
        attempts += (new_attempt(number=number),)
        ended, step = settle_attempt(run_id, step, attempts, RETRIES, outcome, T0)
        attempts = (*attempts[:-1], ended)
    return Journal(run=new_run(run_id), steps={"s": step}, attempts={"s": attempts})


async def repeat(primary: Journal, stops: dict[int, str]) -> tuple[Step, list[Attempt]]:
    """Run the primary's shadow, whose attempts of these numbers are stopped in their bodies."""
    bodies = ShadowBodies(
        app=app("a", repeated),
        recordings=Recordings(cast("Any", Primaries(primary))),
        clock=TurnableClock(T0),
        live=cast("Bodies", None),
    )
    run_id, step, attempts = "r-dryrun", new_step(), tuple[Attempt, ...]()
    for number in range(1, 20):
        if step.state is not StepState.OPEN:
            break
        attempts += (new_attempt(number=number),)
        match stops.get(number):
            case "lost":
                ended, step = lose_attempt(run_id, step, attempts, RETRIES, T0)
            case "interrupted":
                ended = interrupt_attempt(attempts[-1], T0)
            case _:
                journal = Journal(run=new_run(run_id, task="t"), attempts={"s": attempts})
                context = StepContext(run_id=run_id, step="s", attempt=number)
                outcome = await bodies.run(cast("Any", None), context, journal, None)
                ended, step = settle_attempt(run_id, step, attempts, RETRIES, outcome, T0)
        attempts = (*attempts[:-1], ended)
    return step, list(attempts)


@given(
    failures=st.integers(0, RETRIES.max_attempts),
    stops=st.dictionaries(st.integers(1, 8), st.sampled_from(["lost", "interrupted"])),
)
def test_a_retry_of_a_stopped_attempt_gets_its_recording(
    failures: int, stops: dict[int, str]
) -> None:
    """Whichever attempts are stopped, those that end are the primary's, in order, and no more."""
    outcomes = [FAILED] * failures + [COMPLETED]
    primary = tried(outcomes[: RETRIES.max_attempts])
    step, attempts = asyncio.run(repeat(primary, stops))
    told = [(entry.state, entry.error) for entry in attempts if entry.state.counts]
    assert told == [(entry.state, entry.error) for entry in primary.attempts["s"]]
    twin = primary.steps["s"]
    assert (step.state, step.output, step.error) == (twin.state, twin.output, twin.error)


@pytest.mark.parametrize(
    ("state", "reason"),
    [(AttemptState.INTERRUPTED, None), (AttemptState.LOST, "provider_failure")],
)
def test_a_primary_is_comparable_after_a_graceful_stop(
    state: AttemptState, reason: str | None
) -> None:
    """An interrupted attempt has no outcome, so there is nothing to repeat; a lost one counts."""
    stopped = new_attempt(state=state, ended_at=T0 + 5)
    journal = Journal(
        run=new_run(ended_at=T0 + 10),
        steps={"s": new_step()},
        attempts={"s": (stopped, new_attempt(number=2, state=AttemptState.COMPLETED, ended_at=T0))},
    )
    assert not_comparable(journal, ()) == reason
    assert timings(journal).overhead_ms is None
