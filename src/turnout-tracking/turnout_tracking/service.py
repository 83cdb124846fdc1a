"""Tracking in a service: stamps on deliveries, and reconciliation by whichever replica leads."""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from turnout.errors import FailureLog, InvalidDefinition, InvalidSettings
from turnout.model.runs import Delivery
from turnout.model.time import Millis, millis
from turnout.ports.caller import DurableCaller
from turnout.ports.listing import Lists
from turnout.ports.run_store import RunStore
from turnout.service.process import Turnout
from turnout.service.settings import Settings
from turnout_tracking.leaders import Lease, LeaseLost, open_leaders
from turnout_tracking.leading import lead
from turnout_tracking.matches import open_matches
from turnout_tracking.reconcile import Outcome, Reconciler
from turnout_tracking.stamps import Stamper
from turnout_tracking.sweeps import open_sweeps

JOB: Final = "reconcile"
SETTING: Final = "TURNOUT_RECONCILE"
"""The setting: how often a service reconciles, or `off`; unset: it adapts itself."""
SHORTEST, LONGEST = 60_000, 300_000
"""Milliseconds between two reconciliations, where no other time is set."""
SHARE: Final = 10
"""At most one part of so many of the time goes into reconciling."""
STUCK: Final = 2
"""A vendor run that is silent is stuck after so many times the pump's own patience."""

_NOT_COMPARED: Final = "the providers were not compared with the run store; tried again"

log = logging.getLogger(__name__)


@dataclass(kw_only=True, eq=False)
class Tracking:
    """Compares a run store with what the providers have; what `Tracks` promises."""

    store: RunStore
    stamper: Stamper
    interval: Millis | None = None
    """How often; None: it adapts itself."""
    off: bool = False
    """Whether a service is not to reconcile."""
    monotonic: Callable[[], float] = time.monotonic
    _store_id: str | None = field(default=None, init=False)

    async def store_id(self) -> str:
        """Return the id of the run store."""
        if self._store_id is None:
            self._store_id = (await self.store.identity.read()).store_id
        return self._store_id

    async def stamp(self, delivery: Delivery) -> Mapping[str, str]:
        """Make what proves, at its provider, that a delivery is of this run store."""
        store_id = await self.store_id()
        return self.stamper.stamp(delivery.run_id, delivery.number, delivery.task, store_id)

    async def run(self, turnout: Turnout) -> None:
        """Reconcile at once, and again and again, whenever this replica leads.

        A failure is logged, and does not end the loop.
        """
        if self.off or not listing(turnout.callers):
            return
        reconciliation = None
        while True:
            began = self.monotonic()
            with FailureLog(log, _NOT_COMPARED, action="reconcile"), suppress(LeaseLost):
                reconciliation = reconciliation or await self.open(turnout)
                await reconciliation.run_as(turnout.replica_id)
            duration = round((self.monotonic() - began) * 1_000)
            pause = self.interval or min(max(SHORTEST, SHARE * duration), LONGEST)
            await turnout.clock.sleep(pause)

    async def open(
        self, turnout: Turnout, *, provider: str | None = None, dry_run: bool = False
    ) -> "Reconciliation":
        """Make what reconciles a service's providers, or one of them."""
        store_id, matches = await self.store_id(), open_matches(self.store)
        reconcilers = [
            Reconciler(
                caller=caller,
                matches=matches,
                journals=self.store.journals,
                stamper=self.stamper,
                store_id=store_id,
                clock=turnout.clock,
                silence=STUCK * turnout.settings.silence,
                dry_run=dry_run,
            )
            for name, caller in listing(turnout.callers).items()
            if provider in {None, name}
        ]
        return Reconciliation(store=self.store, reconcilers=reconcilers)


class Reconciliation:
    """Reconciles all providers of a service that list their runs."""

    def __init__(self, *, store: RunStore, reconcilers: Sequence[Reconciler]) -> None:
        self._leaders = open_leaders(store)
        self._sweeps = open_sweeps(store)
        self._reconcilers = reconcilers

    @property
    def providers(self) -> Sequence[str]:
        """The providers that are compared, by name."""
        return [reconciler.caller.name for reconciler in self._reconcilers]

    async def run_as(self, holder: str) -> Sequence[Outcome] | None:
        """Reconcile once if this holder may lead; None: another one leads.

        LeaseLost: another one has taken over on the way.
        """
        outcomes: list[Outcome] = []

        async def work(lease: Lease) -> None:
            sweeps = await self._sweeps.sweeps()
            for reconciler in self._reconcilers:
                name = reconciler.caller.name
                by_kind = {sweep.kind: sweep for sweep in sweeps if sweep.provider == name}
                outcomes.extend(await reconciler.run(lease, by_kind))

        return outcomes if await lead(self._leaders, JOB, holder, work) else None


def listing(callers: Mapping[str, DurableCaller]) -> Mapping[str, DurableCaller]:
    """Return the callers that can list their vendors' runs."""
    return {name: caller for name, caller in callers.items() if isinstance(caller, Lists)}


def read_interval(text: str, *, field: str) -> Millis:
    """Read how often to reconcile: a duration, and 1 s at least; `field` names it in the error."""
    return max(millis(text, field=field), 1_000)


def tracking(settings: Settings, store: RunStore) -> Tracking:
    """Make what a service tracks with; the entry point `turnout.tracking` names it."""
    text = settings.raw.get(SETTING, "")
    interval = None
    if text not in {"", "off"}:
        try:
            interval = read_interval(text, field=SETTING)
        except InvalidDefinition as error:
            raise InvalidSettings(f"{error}, or off") from None
    keys = [key.get_secret_value() for key in settings.signing_keys]
    return Tracking(store=store, stamper=Stamper(keys), interval=interval, off=text == "off")
