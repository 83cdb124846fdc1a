"""Reports of vendor runs about themselves: hints to look at them soon, and hand-overs."""

from turnout.model.protocol import Report, ReportEvent
from turnout.model.time import Millis
from turnout.ports.clock import Clock
from turnout.ports.run_store import DeliveryStore, DueWork
from turnout.pump.pace import RELEASE_PATIENCE

ENDING_TIME: Millis = 1_000
"""How long a vendor run that reports its end takes to end."""


class ReportedEnds:
    """Has the pump look soon at a delivery whose vendor run reports that it is ending."""

    def __init__(self, deliveries: DeliveryStore, due: DueWork, clock: Clock) -> None:
        self._deliveries = deliveries
        self._due = due
        self._clock = clock

    async def __call__(self, report: Report) -> None:
        """Make the delivery due to be checked once the vendor run should have ended.

        One that is superseded is expected to end, and is not looked at. A vendor run that hands its
        run over is believed: only the one that holds the live delivery can.
        """
        now = self._clock.now()
        due_at = now + ENDING_TIME
        if report.event is ReportEvent.HANDED_OVER:
            vendor_run = (report.run_id, report.delivery, report.provider_run_id)
            await self._due.hand_over(*vendor_run, now, patience=RELEASE_PATIENCE)
        elif report.event is ReportEvent.STARTED:
            await self._deliveries.postpone(report.run_id, report.delivery, due_at)
        else:
            await self._deliveries.report_end(report.run_id, report.delivery, due_at)
