"""A durable caller: what an adapter implements for its provider.

It promises to call our worker now, later or when woken, again and again until it is answered. What
makes a task mean the same on every provider is kept above it.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias, runtime_checkable

from turnout.model.events import Emitted, Event
from turnout.model.providers import Delivered, Guard, LinkStatus, Notice, ProbeResult, Sighting
from turnout.model.runs import Delivery, Wake
from turnout.model.schedules import ArmedSchedule, Schedule
from turnout.model.status import Capability, Held
from turnout.model.tasks import App, Task
from turnout.model.time import Millis
from turnout.ports.clock import Clock
from turnout.ports.worker import RunsOn, Worker

PORT_VERSION = 2
"""The version of this port; an adapter of another one is refused by name."""

RECOVERY: Millis = 30_000
"""How soon runs go on after a kill, beyond the lease, where a caller declares nothing."""

Emit: TypeAlias = Callable[[Sequence[Event]], Awaitable[Sequence[Emitted]]]
"""Records events with their runs, all or none; what `Orchestrator.emit` does."""

HasRun: TypeAlias = Callable[[str], Awaitable[bool]]
"""Says whether a run of that id is in the run store."""

Stamps: TypeAlias = Callable[[Delivery], Awaitable[Mapping[str, str]]]
"""Gives what proves a delivery to be of its run store; the vendor keeps it with the vendor run."""

LivingSchedules: TypeAlias = Callable[[str], Awaitable[Sequence[Schedule]]]
"""Reads the schedules that a provider is to fire, by its name; none while no replica is alive."""


class Delivers(Protocol):
    """Hands runs to the vendor."""

    async def deliver(self, deliveries: Sequence[Delivery]) -> Sequence[Delivered]:
        """Start a vendor run for each, in few requests; one answer each, in order.

        Repeating a delivery's key is harmless. ProviderUnavailable: none was accepted.
        """
        ...

    async def wake(self, wakes: Sequence[Wake]) -> None:
        """Make the parked vendor runs call in; a hint, repeated until they do."""
        ...


class Stops(Protocol):
    """Ends vendor runs."""

    async def stop(self, delivery: Delivery) -> bool:
        """Stop that vendor run and no other; True once the vendor confirms that it has ended."""
        ...


class Looks(Protocol):
    """Reads what the vendor knows of its runs."""

    async def look(self, delivery: Delivery) -> Sighting:
        """Say what the provider knows of the vendor run; UnmappedStatus for an unknown word."""
        ...


class Arms(Protocol):
    """Keeps recurring schedules at the vendor, which makes a `Tick` call for every slot."""

    async def arm(self, schedules: Sequence[Schedule]) -> None:
        """Make these the active schedules of this app; others of this app are disarmed."""
        ...

    async def armed(self) -> Sequence[ArmedSchedule]:
        """Read back what the provider's runtime will fire for this app."""
        ...


class Defines(Protocol):
    """Makes tasks known to the vendor."""

    def check(self, task: Task) -> None:
        """Raise PolicyRefused, which names the policy, for one that cannot be kept exactly."""
        ...

    async def define(self, app: App) -> None:
        """Register the app's tasks; ProviderRefused carries the vendor's reason."""
        ...

    async def defined(self) -> Sequence[str]:
        """Read back which of the app's task ids the provider's runtime knows."""
        ...


class DurableCaller(Delivers, Stops, Looks, Arms, Defines, Protocol):
    """What an adapter implements: all of these, a name, and who holds which capability."""

    @property
    def name(self) -> str:
        """The provider's name, as in ORCHESTRATOR_PROVIDER."""
        ...

    @property
    def capabilities(self) -> Mapping[Capability, Held]:
        """Who holds each capability's promise; declared, never guessed."""
        ...

    async def start(self) -> None:
        """Begin to call the worker, where the caller runs in this process."""
        ...

    async def close(self) -> None:
        """Stop calling; what is under way is left for a later start."""
        ...


@runtime_checkable
class Serves(Protocol):
    """A caller that needs an endpoint in the service."""

    def asgi(self) -> Any:
        """Return the ASGI application to mount."""
        ...

    @property
    def mount(self) -> str:
        """The path that it is mounted at, like /api/vendor."""
        ...


@runtime_checkable
class Drains(Protocol):
    """A caller to which its vendor can send calls by another way than the service's endpoint."""

    def drain(self) -> None:
        """Take no more calls from now on; those under way end with the worker, before `close`."""
        ...


@runtime_checkable
class Recovers(Protocol):
    """A caller that declares how soon its runs go on after a kill; others have RECOVERY."""

    @property
    def recovery(self) -> Millis:
        """The longest time until a run goes on once all processes are back, beyond the lease."""
        ...


def recovery_of(caller: DurableCaller) -> Millis:
    """Return the longest time, beyond the lease, until a run goes on after a kill."""
    return caller.recovery if isinstance(caller, Recovers) else RECOVERY


@runtime_checkable
class Links(Protocol):
    """A caller to which its vendor can send calls over a connection that the caller opened."""

    def link(self) -> LinkStatus | None:
        """Return the state of the connection; None where the settings name none."""
        ...


@runtime_checkable
class Receives(Protocol):
    """A caller that receives events which are posted to the service instead of its vendor."""

    def doors(self) -> Mapping[str, Any]:
        """Return ASGI applications by path, like /e; none unless the settings ask for them."""
        ...


@runtime_checkable
class Guards(Protocol):
    """A caller that can say who may call what it serves."""

    def guards(self) -> Sequence[Guard]:
        """Return each path that it serves, and who may call it; nothing is asked of the vendor."""
        ...


@runtime_checkable
class HasSlots(Protocol):
    """A caller whose platform executes a limited number of vendor runs at once."""

    async def slots(self) -> int | None:
        """Say how many; None where the platform does not say."""
        ...


@runtime_checkable
class Notices(Protocol):
    """A caller that can report what an operator should know of its vendor."""

    async def notices(self, has_run: HasRun) -> Sequence[Notice]:
        """List leftover runs, other senders and listeners, and keys that are out of date.

        In few, bounded requests; nothing is changed.
        """
        ...


@runtime_checkable
class Probes(Protocol):
    """A caller whose vendor runs a remote worker, which can check its way to this service."""

    async def probe(self, patience: float) -> Sequence[ProbeResult]:
        """Have the worker call this service as runs do; wait `patience` seconds for its results."""
        ...


async def no_stamp(delivery: Delivery) -> Mapping[str, str]:
    """Make no stamp: a delivery carries its ids alone."""
    del delivery
    return {}


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """What an adapter is given to work with."""

    settings: Mapping[str, str]
    """The environment; the adapter reads its vendor's own names, and reports faults by name."""
    app: App
    """The tasks and schedules to make known."""
    worker: Worker
    """What the vendor runs call."""
    clock: Clock
    """The clock; a test may set it."""
    production: bool = False
    """Whether settings that are meant for a laptop are refused by name: LaptopSetting."""
    service_url: str | None = None
    """Where the vendor reaches this service, like http://127.0.0.1:8000."""
    runs_on: RunsOn | None = None
    """The worker, for a caller in its process; None where the worker is in another process."""
    emit: Emit | None = None
    """Records events that come through the vendor; None where nothing can be emitted."""
    living_schedules: LivingSchedules | None = None
    """For a provider that ticks in our processes: the schedules that living replicas tick."""
    stamps: Stamps = no_stamp
    """Makes what each delivery carries beside its ids."""


@runtime_checkable
class Releases(Protocol):
    """A plugin of a platform where a vendor run that waits may keep its slot."""

    def release_after(self, settings: Mapping[str, str]) -> Millis | None:
        """How long a vendor run may wait until its run is released; None: its slot is freed.

        settings: the environment, from which it follows which platform it is.
        """
        ...


class Plugin(Protocol):
    """What the entry point `turnout.orchestrators` names."""

    @property
    def name(self) -> str:
        """The provider's name."""
        ...

    @property
    def port_version(self) -> int:
        """The PORT_VERSION it was written for."""
        ...

    @property
    def alarm_grace(self) -> Millis:
        """How late the vendor's own alarm may be before the pump wakes a run in its place.

        0: the vendor has no alarm, and the pump ends every park. Else the vendor ends a sleep and a
        back-off itself, and the pump sends no wake to those.
        """
        ...

    def open(self, surroundings: Surroundings) -> DurableCaller:
        """Make the live caller; InvalidSettings names every setting that is missing or wrong."""
        ...
