"""Reporting on a run from the run store alone."""

from turnout.model.reports import RunReport
from turnout.ports.run_store import RunStore


async def run_report(store: RunStore, run_id: str) -> RunReport:
    """Read all that the store knows of a run; UnknownRun when there is none of that id."""
    journal = await store.journals.load(run_id)
    deliveries = tuple(await store.deliveries.read(run_id))
    transitions = tuple(await store.journals.transitions(run_id))
    return RunReport(journal=journal, transitions=transitions, deliveries=deliveries)
