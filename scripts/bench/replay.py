"""What a recorded step costs a replay: `python scripts/bench/replay.py [--steps N]`.

The task function is replayed over a journal that has the outcomes of all its steps; printed is the
processor time of the fastest of several rounds, in microseconds for each step.
"""

import argparse
import json
import sys
import time
from typing import Any

from turnout import App, Context, task
from turnout.driver.effects import LiveEffects
from turnout.driver.replay import replay
from turnout.model.runs import Journal, Run, Step
from turnout.model.status import RunStatus, StepKind, StepState

ROUNDS = 20


async def empty_step() -> int:
    """Do nothing."""
    return 1


@task("sequential", on="bench/sequential")
async def sequential(ctx: Context, payload: dict[str, Any]) -> int:
    """Run one step more than is recorded."""
    return sum([await ctx.step(f"step-{n}", empty_step) for n in range(payload["steps"] + 1)])


def journal(steps: int) -> Journal:
    """Make a journal with the outcomes of so many steps."""
    run = Run(
        run_id="run",
        task="sequential",
        provider="local",
        payload=json.dumps({"steps": steps}).encode(),
        event="bench/sequential",
        event_id="event",
        emitted_at=1,
        due_at=1,
        state=RunStatus.RUNNING,
        started_at=1,
    )
    completed = {
        f"step-{n}": Step(
            step=f"step-{n}",
            kind=StepKind.STEP,
            position=f"{n:04d}",
            asked_at=1,
            ended_at=2,
            state=StepState.COMPLETED,
            output=b"1",
        )
        for n in range(steps)
    }
    return Journal(run=run, steps=completed)


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--steps", type=int, default=9_999)
    options = parser.parse_args()
    recorded, effects = journal(options.steps), LiveEffects(App(name="bench", tasks=(sequential,)))
    times = []
    for _ in range(ROUNDS):
        began = time.process_time()
        decision = replay(sequential, recorded, 5, effects)
        times.append(time.process_time() - began)
        assert [attempt.command.id for attempt in decision.ready] == [f"step-{options.steps}"]
    figures = {"steps": options.steps, "us_per_step": min(times) / options.steps * 1e6}
    sys.stdout.write(json.dumps(figures) + "\n")


if __name__ == "__main__":
    main()
