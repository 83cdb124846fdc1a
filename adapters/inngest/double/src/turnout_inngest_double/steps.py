"""Does what the application's steps ask for: remember, plan, wait, try again."""

from dataclasses import dataclass
from typing import Any

import orjson
from turnout_inngest.cel import InvalidExpression

from turnout_inngest_double.calls import Calls
from turnout_inngest_double.outcome import (
    DISCOVERY,
    ERROR_OPS,
    RESULT_OPS,
    Op,
    Steps,
    memo_error,
)
from turnout_inngest_double.state import JOINING_VERSION, Job, Run, Span, Summary
from turnout_inngest_double.waits import Waits
from turnout_inngest_double.world import World

MAX_STEPS = 1_000
_PLAN_SIZE = 2


@dataclass(frozen=True, kw_only=True)
class RunFault:
    """Why the run fails, whatever else it asked for."""

    error: dict[str, Any]
    label: str
    """The server's own word for it."""


class StepRunner:
    """Carries out the operations of an answer."""

    def __init__(self, world: World, calls: Calls, waits: Waits) -> None:
        self._world = world
        self._calls = calls
        self._waits = waits

    def apply(self, run: Run, job: Job, span: Span, answer: Steps) -> RunFault | None:
        """Carry out every operation; ask for more when nothing is waited for."""
        if len(run.stack) + len(run.planned) + len(answer.ops) > MAX_STEPS:
            name = "InngestErrFunctionOverflowed"
            message = f"the run has more than {MAX_STEPS} steps"
            return RunFault(error={"name": name, "message": message, "error": name}, label=name)
        if not any(op.has_run for op in answer.ops):
            self._world.forget_span(run, span)
        _note_open(run, answer)
        races: dict[str, bool] = {}
        is_retried = False
        for op in answer.ops:
            if op.op in ERROR_OPS and not self._is_final(run, job, op, answer):
                self._calls.retry(run, job, answer.retry)
                is_retried = True
            elif op.has_run:
                races[op.step] = op.races or run.planned.get(op.step, False)
                self._remember(run, op)
            elif fault := self._plan(run, op):
                return fault
        if not is_retried:
            run.jobs.pop(job.id, None)
            for step, is_race in races.items():
                self._calls.discover_after(run, step, races=is_race)
        return None

    def checkpoint(self, run: Run, op: Op, span: Span) -> None:
        """Keep a step that the application reports while its call is under way."""
        if op.op in RESULT_OPS and op.step not in run.memos:
            self._remember(run, op)
            span.describe(Summary(status="COMPLETED", output=op.data, step=op.step, name=op.label))
            run.spans.append(span)
            self._world.save_span(run, span)

    def _is_final(self, run: Run, job: Job, op: Op, answer: Steps) -> bool:
        return op.op == "StepFailed" or answer.no_retry or self._calls.is_last_attempt(run, job)

    def _remember(self, run: Run, op: Op) -> None:
        if op.step in run.memos:
            # Two steps share an id; like the vendor, the run then waits for ever.
            return
        if op.op in RESULT_OPS:
            self._world.remember(run, op.step, b'{"data":' + op.data + b"}")
        else:
            self._world.remember(run, op.step, orjson.dumps({"error": memo_error(op.error)}))

    def _plan(self, run: Run, op: Op) -> RunFault | None:
        if op.op == DISCOVERY:
            self._calls.discover(run)
            return None
        if op.step in run.memos or op.step in run.planned:
            return None
        run.planned[op.step] = op.races
        if op.op == "StepPlanned":
            self._calls.enqueue(run, op.step)
            return None
        try:
            self._waits.begin(run, op)
        except (KeyError, TypeError, ValueError, InvalidExpression) as error:
            problem = {"name": type(error).__name__, "message": str(error), "error": str(error)}
            return RunFault(error=problem, label=str(error))
        return None


def _note_open(run: Run, answer: Steps) -> None:
    """Note what a plan of several steps leaves open, as the vendor's server does."""
    if len(answer.ops) < _PLAN_SIZE:
        return
    run.plans_all = True
    if run.version >= JOINING_VERSION and not all(op.has_run for op in answer.ops):
        run.open = [op.step for op in answer.ops]
