"""Checks of the run store and the artifact store."""

import stat
from pathlib import Path

from turnout.model.routing import DUAL
from turnout.model.runs import RunFilter
from turnout.model.storage import ConditionSupport
from turnout.service.process import Turnout
from turnout_operator.doctor.check import Check, Health
from turnout_operator.doctor.conditions import probe

MOST_COUNTED = 100
"""How many held runs are counted."""


async def check_run_store(live: Turnout) -> Check:
    """Whether the run store answers; its clock is gone by from then on."""
    await live.clock.read()
    routes = await live.store.routes.read()
    text = f"{live.store!r} answers"
    if live.selection.provider == DUAL and not routes:
        text += "; no routes: every task is dual"
    file = _readable_by_all(live.settings.database_url.get_secret_value())
    if file is not None:
        text += ", and everybody on this machine can read its file"
        return Check(name="run store", health=Health.WARN, text=text, fix=f"chmod o= {file}*")
    return Check(name="run store", health=Health.OK, text=text)


async def check_dead_letters(live: Turnout, app_name: str) -> Check:
    """Whether events wait that were refused at a door."""
    count = await live.store.dead_letters.count()
    if not count:
        return Check(name="dead letters", health=Health.OK, text="none")
    return Check(
        name="dead letters",
        health=Health.WARN,
        text=f"{count} event(s) were refused at a door, and are kept",
        fix="turnout deadletters list; once they fit,"
        f" turnout deadletters emit --all --app {app_name}",
    )


async def check_held_runs(live: Turnout) -> Check:
    """Whether runs wait for code that can read what they have recorded."""
    runs = await live.store.runs.find(RunFilter(held=True, limit=MOST_COUNTED))
    if not runs:
        return Check(name="held runs", health=Health.OK, text="none")
    count = f"{len(runs)} or more" if len(runs) == MOST_COUNTED else len(runs)
    tasks = ", ".join(sorted({run.task for run in runs}))
    return Check(
        name="held runs",
        health=Health.WARN,
        text=f"{count} run(s) of {tasks} wait for code that can read what they have recorded",
        fix="turnout runs list --held; then deploy code that can read them (`upgrade=`)",
    )


def _readable_by_all(url: str) -> Path | None:
    """Return the file of a run store that an earlier version made readable by everybody."""
    file = Path(url.removeprefix("sqlite:///"))
    return file if file.is_file() and file.stat().st_mode & stat.S_IROTH else None


async def check_artifacts(live: Turnout) -> Check:
    """Whether artifacts can be written, and which conditions of a write are honoured."""
    store = live.primary.artifacts
    if store is None:
        return Check(name="artifacts", health=Health.WARN, text="none are written")
    return Check(
        name="artifacts",
        health=Health.OK,
        text=f"{live.settings.artifacts} can be written; {_promise(await probe(store))}",
    )


def _promise(support: ConditionSupport) -> str:
    if support.looks_first:
        return (
            "it refuses conditional writes, so Turnout looks before it writes: of two writers of"
            " one document at the same moment the later one's stays"
        )
    if not support.create:
        return "it ignores conditional writes: of two writers of one document the later one's stays"
    return "a document is written once"
