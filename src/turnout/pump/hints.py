"""Reports of vendor runs about themselves: a hint to look at them soon, never a fact."""

from turnout.model.protocol import Report, ReportEvent
from turnout.model.time import Millis
from turnout.ports.clock import Clock
from turnout.ports.run_store import DeliveryStore

ENDING_TIME: Millis = 1_000
"""How long a vendor run that reports its end takes to end."""


class ReportedEnds:
    """Has the pump look soon at a delivery whose vendor run reports that it is ending."""

    def __init__(self, deliveries: DeliveryStore, clock: Clock) -> None:
        self._deliveries = deliveries
        self._clock = clock

    async def __call__(self, report: Report) -> None:
        """Make the delivery due to be checked once the vendor run should have ended.

        One that is superseded is expected to end, and is not looked at.
        """
        due_at = self._clock.now() + ENDING_TIME
        if report.event is ReportEvent.STARTED:
            await self._deliveries.postpone(report.run_id, report.delivery, due_at)
        else:
            await self._deliveries.report_end(report.run_id, report.delivery, due_at)
