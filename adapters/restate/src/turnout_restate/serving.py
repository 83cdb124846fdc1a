"""What the vendor's server calls: a service for runs, an object for schedules, as one ASGI app."""

import signal
from datetime import timedelta
from typing import Any, Final

import restate

from turnout.model.protocol import PROTOCOL
from turnout.model.tasks import App
from turnout.ports.caller import Surroundings
from turnout_restate.run_loop import Memo, RunLoop
from turnout_restate.schedules import ScheduleObject
from turnout_restate.settings import RestateSettings

HANDLER: Final = "run"
TASKS: Final = "turnout.tasks"
"""The entry of the service's metadata that lists the tasks, separated by spaces."""
RETENTION: Final = timedelta(days=1)
"""How long the server knows a completed invocation, and refuses to start its key again."""
LONGEST_CALL: Final = timedelta(minutes=10)
"""How long the server waits for the answer of a call beyond its own inactivity timeout (a minute);
then it cuts the call off, and repeats it."""
_RETRIES: Final = restate.InvocationRetryPolicy(
    initial_interval=timedelta(milliseconds=200),
    exponentiation_factor=2.0,
    max_interval=timedelta(seconds=10),
    max_attempts=1_000_000,
)
"""The server's retries repeat a failed call of the handler. They never count as attempts of a step,
which Turnout bounds itself: so there are practically no bounds here."""


def service_name(app: App) -> str:
    """The vendor's name of the service that carries an app's runs."""
    return f"turnout.{app.name}.runs"


def application(surroundings: Surroundings, settings: RestateSettings) -> Any:
    """Make the ASGI application that is mounted."""
    served = (_runs(surroundings), ScheduleObject(surroundings, _RETRIES).definition)
    return _Serving(restate.app(served, identity_keys=list(settings.identity_keys) or None))


def _runs(surroundings: Surroundings) -> restate.Service:
    app = surroundings.app
    service = restate.Service(
        service_name(app),
        metadata={TASKS: " ".join(task.id for task in app.tasks)},
        idempotency_retention=RETENTION,
        journal_retention=RETENTION,
        abort_timeout=LONGEST_CALL,
        invocation_retry_policy=_RETRIES,
    )

    @service.handler(HANDLER)
    async def run(ctx: restate.Context, delivery: dict[str, Any]) -> Memo:
        """Carry one delivery of a run."""
        fields = {
            "protocol": PROTOCOL,
            "definition": app.definition,
            "task": delivery["task"],
            "run_id": delivery["run_id"],
            "delivery": delivery["delivery"],
            "provider_run_id": ctx.request().id,
        }
        loop = RunLoop(ctx, fields, worker=surroundings.worker, clock=surroundings.clock)
        return await loop.run()

    return service


class _Serving:
    """The SDK's application, which leaves the process's signals to the process.

    At its first request the SDK takes SIGTERM over for its event loop, and the server that runs the
    process would no longer stop at it. So its first request is one of ours, after which the
    process's own handler of SIGTERM is set again.
    """

    def __init__(self, app: Any) -> None:
        self._app = app
        self._is_first = True

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve one request."""
        if self._is_first:
            self._is_first = False
            before = signal.getsignal(signal.SIGTERM)
            await self._app({"type": "http", "path": "/health"}, receive, _ignore)
            if signal.getsignal(signal.SIGTERM) is not before:  # never so outside the main thread
                signal.signal(signal.SIGTERM, before)
        await self._app(scope, receive, send)


async def _ignore(_message: Any) -> None:
    """Take an answer that nobody asked for."""
