"""Reporting on a run from the run store alone."""

from turnout.model.reports import RunReport
from turnout.ports.run_store import DeliveryStore, JournalStore


async def run_report(journals: JournalStore, deliveries: DeliveryStore, run_id: str) -> RunReport:
    """Read all that the store knows of a run; UnknownRun when there is none of that id."""
    journal = await journals.load(run_id)
    transitions = tuple(await journals.transitions(run_id))
    return RunReport(
        journal=journal,
        transitions=transitions,
        deliveries=tuple(await deliveries.read(run_id)),
    )
