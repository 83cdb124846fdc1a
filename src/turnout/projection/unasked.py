"""Steps in a journal that the code, as it is now, does not ask for."""

from functools import partial

from turnout.driver.effects import Effects
from turnout.driver.replay import replay
from turnout.driver.replay_task import ReplayTask
from turnout.model.runs import Journal
from turnout.model.tasks import App


class UnaskedSteps:
    """Finds the recorded steps that a replay of the task over its journal does not ask for."""

    def __init__(self, app: App, effects: Effects) -> None:
        self._app = app
        self._effects = effects

    def __call__(self, journal: Journal) -> tuple[str, ...]:
        """Return the steps' ids; none while the run goes on, or if its task is gone or adopted."""
        run = journal.run
        if run.ended_at is None or all(task.id != run.task for task in self._app.tasks):
            return ()
        task = self._app.task(run.task)
        if task.open_mode:
            return ()
        replaying = partial(replay, task, journal, run.ended_at, self._effects)
        # A function that cancels its own task must not cancel that of the writer.
        return ReplayTask().run(task.id, replaying).unasked
