"""For users' tests: run a task in memory, skip its waiting times, and replace its steps.

::

    from turnout_testing import InTurn, run_task

    async def test_a_report_is_stored():
        ran = await run_task(
            agent_run,
            {"notebook": "n-1"},
            steps={"load-sources": ["a", "b"], "summarise": InTurn(TimeoutError(), "short")},
        )
        assert ran.result["title"] == "short"
        assert ran.attempts["summarise"] == 2

Tests that are not async use the fixture `run_task` in the same way, without `await`.
"""

from turnout_testing.clock import TurnableClock
from turnout_testing.stubs import InTurn
from turnout_testing.task_run import TaskRun, run_task

__all__ = ["InTurn", "TaskRun", "TurnableClock", "run_task"]
