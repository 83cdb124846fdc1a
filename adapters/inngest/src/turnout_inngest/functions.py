"""The app's tasks and schedules as functions of the vendor's SDK, and the application for them."""

from collections.abc import Iterable, Mapping
from contextvars import ContextVar
from datetime import timedelta
from typing import Any, Final, TypeAlias

import fastapi
import inngest
import inngest.fast_api
from starlette.requests import Request

from turnout.errors import InvalidDefinition, ProviderUnavailable, Unavailable
from turnout.model.ids import check_task_id
from turnout.model.policies import Policies
from turnout.model.protocol import Tick
from turnout.model.tasks import App
from turnout.model.time import Millis, millis
from turnout.ports.caller import Surroundings
from turnout_inngest.ingress import ingress_functions, names_of
from turnout_inngest.run_loop import FIRST, Opening, RunLoop
from turnout_inngest.schedules import FUNCTION, slot_of
from turnout_inngest.server_clock import ServerClock
from turnout_inngest.settings import SERVED_AT, InngestSettings

Function: TypeAlias = inngest.Function[Any]

RETRIES: Final = 20
"""Of the vendor's own, each of one vendor step: the budget for a service that is away."""
LATER: Final[Millis] = 60_000
"""How much later than ours the vendor's timeouts are; ours are exact, and say what happened."""


class Client(inngest.Inngest):
    """The SDK's client with all settings given; it reads none from the process's environment."""

    def __init__(self, app: App, settings: InngestSettings) -> None:
        super().__init__(
            app_id=app.name,
            api_base_url=settings.api,
            event_api_base_url=settings.events,
            is_production=settings.production,
            event_key=settings.event_key,
            signing_key=settings.signing_key,
            env=settings.environment,
        )
        self._fallback = settings.signing_key_fallback

    @property
    def signing_key_fallback(self) -> str | None:
        """The old key, while keys are rotated."""
        return self._fallback


_opening: ContextVar[Opening] = ContextVar("what a vendor run's first answer was")


class OpeningMiddleware(inngest.Middleware):
    """Reads the recorded first answer before a pass: only middleware sees all recorded steps."""

    async def transform_input(
        self, ctx: Any, function: inngest.Function[Any], steps: inngest.StepMemos
    ) -> None:
        """Remember the first answer for this call."""
        del ctx, function
        memos = [memo.data for memo in steps.values()]
        carried = (memo.get(FIRST) for memo in memos if isinstance(memo, dict))
        first_answer = next((memo for memo in carried if isinstance(memo, dict)), None)
        _opening.set(Opening(is_first=not memos, first_answer=first_answer))


def event_name(app: App, task_id: str) -> str:
    """Name the event that delivers a task's runs; no event of a user has such a name."""
    return f"turnout/deliver.{app.name}.{task_id}"


def task_functions(
    surroundings: Surroundings, client: inngest.Inngest, server_time: ServerClock
) -> list[Function]:
    """Make one function for each task, so that the vendor's dashboard shows tasks."""

    async def handle(ctx: inngest.Context) -> dict[str, Any]:
        """Make one pass over a vendor run."""
        _check_delivery(ctx.event.data)
        loop = RunLoop(
            ctx,
            worker=surroundings.worker,
            clock=surroundings.clock,
            definition=surroundings.app.definition,
            opening=_opening.get(),
            offset=server_time.offset,
        )
        return await loop.run()

    app = surroundings.app
    return [
        client.create_function(
            fn_id=task.id,
            retries=RETRIES,
            timeouts=_timeouts(task.policies),
            trigger=inngest.TriggerEvent(event=event_name(app, task.id)),
            middleware=[OpeningMiddleware],
        )(handle)
        for task in app.all_tasks
    ]


def schedule_function(
    surroundings: Surroundings, client: inngest.Inngest, schedule_id: str, cron: str
) -> Function:
    """Make the function that ticks a schedule; it only claims the slot."""

    async def tick(ctx: inngest.Context) -> dict[str, Any]:
        """Claim the slot that the vendor fires."""
        try:
            call = Tick(
                schedule=schedule_id,
                slot=slot_of(ctx.event.data),
                provider="inngest",
                provider_run_id=ctx.run_id,
            )
        except ProviderUnavailable as error:
            # The same payload comes again however often it is tried.
            raise inngest.NonRetriableError(str(error), quiet=True) from None
        try:
            ticked = await surroundings.worker.answer(call)
        except Unavailable as error:
            pause = timedelta(seconds=min(2**ctx.attempt, 60))
            raise inngest.RetryAfterError(str(error), pause, quiet=True) from None
        return {"turnout": 1, "run_id": ticked.run_id, "reason": ticked.reason}

    return client.create_function(
        fn_id=FUNCTION + schedule_id,
        retries=RETRIES,
        trigger=inngest.TriggerCron(cron=cron),
    )(tick)


class Serving:
    """The application that the vendor calls.

    A schedule's function is made when it is called for: another replica, or a command, may have
    armed it.
    """

    def __init__(
        self, surroundings: Surroundings, settings: InngestSettings, server_time: ServerClock
    ) -> None:
        self._surroundings = surroundings
        self._settings = settings
        self._client = Client(surroundings.app, settings)
        names = names_of(surroundings.app, settings)
        self._functions = [
            *task_functions(surroundings, self._client, server_time),
            *ingress_functions(names, self._client, surroundings.emit, retries=RETRIES),
        ]
        self._tasks = self._application(self._functions) if self._functions else None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve one request."""
        application = self._tasks
        if scope["type"] == "http":
            schedule_id = self._schedule_of(Request(scope))
            if schedule_id is not None or application is None:
                application = self._application([self._tick(schedule_id or "none")])
        if application is not None:
            await application(scope, receive, send)

    @property
    def client(self) -> Client:
        """The SDK's client."""
        return self._client

    def functions(self, crons: Mapping[str, str]) -> list[Function]:
        """List all that is registered: tasks, ingress and schedules."""
        return [
            *self._functions,
            *(self._tick(schedule_id, cron) for schedule_id, cron in crons.items()),
        ]

    def registration(self, crons: Mapping[str, str]) -> fastapi.FastAPI | None:
        """Make the application whose PUT registers tasks and schedules; never to be served."""
        functions = self.functions(crons)
        return self._application(functions, unsigned_sync=True) if functions else None

    def _schedule_of(self, request: Request) -> str | None:
        prefix = f"{self._surroundings.app.name}-{FUNCTION}"
        function_id = request.query_params.get("fnId", "")
        if not function_id.startswith(prefix):
            return None
        try:
            return check_task_id(function_id.removeprefix(prefix))
        except InvalidDefinition:
            return None

    def _tick(self, schedule_id: str, cron: str = "0 0 1 1 *") -> Function:
        return schedule_function(self._surroundings, self._client, schedule_id, cron)

    def _application(
        self, functions: Iterable[Function], *, unsigned_sync: bool = False
    ) -> fastapi.FastAPI:
        application = fastapi.FastAPI(openapi_url=None)
        inngest.fast_api.serve(
            application,
            self._client,
            list(functions),
            enable_unauthed_sync=unsigned_sync,
            # The address that is registered; the path is where the mounted application listens.
            public_path=self._settings.served_at,
            serve_origin=self._settings.service_url,
            serve_path=SERVED_AT,
            streaming=inngest.Streaming.DISABLE,
        )
        return application


def _check_delivery(data: Mapping[str, Any]) -> None:
    """Refuse a vendor run that somebody started by hand: only an emit makes a run."""
    names = ("run_id", "delivery", "task")
    if not all(isinstance(data.get(name), str | int) for name in names):
        raise inngest.NonRetriableError(
            "this function carries runs of Turnout and is not started by hand; emit the task's"
            " event (turnout emit), or have it come in (TURNOUT_INNGEST_INGRESS)",
            quiet=True,
        )


def _timeouts(policies: Policies) -> inngest.Timeouts | None:
    """Ceilings in whole seconds: the vendor cancels a run that we should have timed out before."""
    limits = policies.timeouts
    queue = None if limits.queue is None else millis(limits.queue)
    run = None if limits.run is None else millis(limits.run)
    queues_in_store = policies.concurrency is not None and policies.concurrency.counts == "runs"
    # A run waits for its slot within the vendor run, whose time goes on meanwhile.
    bounded = run is not None and (queue is not None or not queues_in_store)
    start = None if queue is None else _whole_seconds(queue + LATER)
    finish = _whole_seconds((run or 0) + (queue or 0) + LATER) if bounded else None
    if start is None and finish is None:
        return None
    return inngest.Timeouts(start=start, finish=finish)


def _whole_seconds(duration: Millis) -> Millis:
    return -(-duration // 1_000) * 1_000
