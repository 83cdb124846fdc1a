"""Steps in a journal that the code, as it is now, does not ask for."""

from turnout.driver.effects import Effects
from turnout.driver.replay import replay
from turnout.model.runs import Journal
from turnout.model.tasks import App


class UnaskedSteps:
    """Finds them by replaying the task over its journal."""

    def __init__(self, app: App, effects: Effects) -> None:
        self._app = app
        self._effects = effects

    def __call__(self, journal: Journal) -> tuple[str, ...]:
        """Return their ids; none for a run that has not ended, or whose task is gone or open."""
        run = journal.run
        if run.ended_at is None or all(task.id != run.task for task in self._app.tasks):
            return ()
        task = self._app.task(run.task)
        if task.open_mode:
            return ()
        return replay(task, journal, run.ended_at, self._effects).unasked
