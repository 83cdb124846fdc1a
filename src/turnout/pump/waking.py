"""Sending wakes: a run that is to wake gets one again, more and more rarely, until it calls.

A wake costs a vendor as much as an event or a request, and a vendor that is behind gets no faster
by more of them. So each provider gets a bounded number of wakes each second, and far fewer of those
that are sent again. A wake that could not be sent is not counted.
"""

import logging
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from functools import partial

from turnout.errors import TurnoutError, Unavailable, foreign_errors_translated
from turnout.model.runs import Delivery, Wake
from turnout.model.status import DeliveryState
from turnout.ports.caller import DurableCaller
from turnout.ports.clock import Clock
from turnout.ports.run_store import DueWork
from turnout.pump.flow import Flow
from turnout.pump.lanes import Lanes
from turnout.pump.pace import Pace

HINTS = 5
"""How often the wake of a vendor run that is to end is tried: for about six seconds."""

log = logging.getLogger(__name__)


class Waker:
    """Sends the wakes that are due, as fast as each provider is to get them."""

    def __init__(
        self,
        *,
        due: DueWork,
        callers: Mapping[str, DurableCaller],
        clock: Clock,
        pace: Pace,
        calls: Lanes,
        embedded: Collection[str],
    ) -> None:
        """calls: where the sending goes on. embedded: providers in our own process, not bounded."""
        self._due = due
        self._callers = callers
        self._clock = clock
        self._pace = pace
        self._calls = calls
        self._embedded = embedded
        self._wakes = {name: Flow(*pace.wakes) for name in callers}
        self._resends = {name: Flow(*pace.resends) for name in callers}
        self._failures: Counter[str] = Counter()

    async def turn(self) -> int:
        """Begin to send the wakes that are due; return how many were taken from the run store."""
        wakes = await self._due.take_wakes(
            self._clock.now(),
            limit=self._pace.batch,
            resend=self._pace.resend[0],
            look=self._pace.calm_look,
        )
        by_provider: dict[str, list[Wake]] = {}
        early: list[Wake] = []
        for wake in wakes:
            delivery = wake.delivery
            if delivery is None or self._is_early(delivery):
                early.append(wake)
            else:
                by_provider.setdefault(delivery.provider, []).append(wake)
        now = self._clock.now()
        postponed = [replace(wake, due_at=now + self._pace.look) for wake in early]
        for name, due in by_provider.items():
            ready, later = self._split(name, due)
            postponed += later
            postponed += [self._counted(wake, name) for wake in ready if wake.sent]
            if ready:
                self._calls.begin(f"wake {name}", ready, _key, partial(self._send, name))
        if postponed:
            await self._due.postpone_wakes(postponed)
        return len(wakes)

    def hint(self, wakes: Sequence[Wake]) -> None:
        """Wake vendor runs that are to end: a few tries, for they are stopped later anyway."""
        for wake in wakes:
            name = "" if wake.delivery is None else wake.delivery.provider
            if name in self._callers:
                self._calls.begin(
                    f"release {name}", [wake], _key, partial(self._send_some_times, name)
                )

    async def _send_some_times(self, name: str, wakes: Sequence[Wake]) -> None:
        for failures in range(HINTS):
            try:
                with foreign_errors_translated():
                    await self._callers[name].wake(wakes)
            except TurnoutError as error:
                await self._clock.sleep(self._pace.retry_after(failures, error))
            else:
                return

    def _split(self, name: str, wakes: Sequence[Wake]) -> tuple[list[Wake], list[Wake]]:
        """Part the wakes that the provider gets now from those that it gets later."""
        now = self._clock.now()
        if name not in self._callers:
            return [], [replace(wake, due_at=now + self._pace.idle) for wake in wakes]
        if name in self._embedded:
            return list(wakes), []
        first = [wake for wake in wakes if not wake.sent]
        repeated = [wake for wake in wakes if wake.sent]
        room = max(0, self._calls.room(f"wake {name}"))
        ready: list[Wake] = []
        later: list[Wake] = []
        for candidates, flow in ((first, self._wakes[name]), (repeated, self._resends[name])):
            count = flow.take(min(len(candidates), room - len(ready)), now)
            ready += candidates[:count]
            later += [
                replace(wake, due_at=now + flow.wait(place, now))
                for place, wake in enumerate(candidates[count:])
            ]
        return ready, later

    def _is_early(self, delivery: Delivery) -> bool:
        """Whether nobody waits for a wake yet: before a vendor run has called, which withdraws it.

        In our own process the run of a sent delivery may have been lost with another process.
        """
        if delivery.state is DeliveryState.SENT:
            return delivery.provider not in self._embedded
        return delivery.state is not DeliveryState.CLAIMED

    def _counted(self, wake: Wake, name: str) -> Wake:
        """Return the wake with this sending counted, due again after a longer wait.

        In our own process a wake costs nothing, and the process that had the run may be gone.
        """
        times = wake.sent + 1
        wait = self._pace.resend_after(wake.run_id, 1 if name in self._embedded else times)
        return replace(wake, sent=times, due_at=self._clock.now() + wait)

    async def _send(self, name: str, wakes: Sequence[Wake]) -> None:
        try:
            with foreign_errors_translated():
                await self._callers[name].wake(wakes)
        except TurnoutError as error:
            log.warning(
                "a provider did not take wakes; they are sent again",
                extra={
                    "action": "wake",
                    "provider": name,
                    "count": len(wakes),
                    "error": str(error),
                },
            )
            await self._put_back(name, wakes, error)
        else:
            self._failures.pop(name, None)

    async def _put_back(self, name: str, wakes: Sequence[Wake], error: TurnoutError) -> None:
        """Have wakes that failed sent again, uncounted unless the provider refused them."""
        until = self._clock.now() + self._pace.retry_after(self._failures[name], error)
        self._failures[name] += 1
        refused = not isinstance(error, Unavailable)
        if not refused:
            self._wakes[name].close(until)
            self._resends[name].close(until)
        await self._due.postpone_wakes(
            [
                self._counted(wake, name) if refused else replace(wake, due_at=until)
                for wake in wakes
            ]
        )


def _key(wake: Wake) -> str:
    """Name a wake by its run and seq: after the next commit it is another wake."""
    return f"{wake.run_id}.{wake.seq}"
