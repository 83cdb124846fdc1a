"""The tasks that behaviours are seen by; their bodies leave marks in a trace."""

from turnout.model.tasks import App
from turnout_testing.conformance.tasks.failures import broken_tasks, failing_tasks, timed_tasks
from turnout_testing.conformance.tasks.relations import limited_tasks, related_tasks
from turnout_testing.conformance.tasks.steps import parallel_tasks, plain_tasks, waiting_tasks
from turnout_testing.conformance.world import Trace


def suite_app(trace: Trace, *, longer: float = 1.0) -> App:
    """Make the app of the suite over a trace.

    longer: how many times longer than usual a run may wait for its start.
    """
    tasks = (
        *plain_tasks(trace),
        *waiting_tasks(trace),
        *parallel_tasks(trace),
        *failing_tasks(trace, longer),
        *limited_tasks(trace, longer),
        *timed_tasks(trace),
        *related_tasks(trace),
        *broken_tasks(),
    )
    return App(name="conformance", tasks=tasks)
