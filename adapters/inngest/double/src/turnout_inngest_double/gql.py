"""The GraphQL queries that the official SDK's own tests use to read runs, and `cancelRun`.

The schema is the part of the vendor's that is served; anything else is answered by GraphQL's own
error, which names the field.
"""

from functools import lru_cache
from typing import Any

import orjson
from graphql import GraphQLError, GraphQLSchema, build_schema, execute, parse, validate
from starlette.requests import Request
from starlette.responses import Response

from turnout_inngest_double import ids, trace
from turnout_inngest_double.engine import Engine
from turnout_inngest_double.replies import engine_of, json_of, reply
from turnout_inngest_double.state import Run, Span

MAX_QUERY = 16_384
_SDL = """
type Query {
  run(runID: String!): Run
  runTrigger(runID: String!): RunTrigger
  runTraceSpanOutputByID(outputID: String!): SpanOutput
  event(query: EventQuery!): Event
  functions: [Function!]
  apps: [App!]
}
type Mutation { cancelRun(runID: ID!): Run }
input EventQuery { eventId: ID!, workspaceId: ID }
type Event { id: ID!, name: String, payload: String, functionRuns: [Run!] }
type Run {
  id: ID!, status: String, output: String, functionID: String, appID: String, eventID: ID
  queuedAt: String, startedAt: String, endedAt: String, cronSchedule: String, isBatch: Boolean
  trace: Span
}
type RunTrigger {
  eventName: String, IDs: [ID!], payloads: [String!], isBatch: Boolean, cron: String
}
type Span {
  name: String, status: String, attempts: Int, stepID: String, stepOp: String, outputID: String
  spanID: String, runID: ID, queuedAt: String, startedAt: String, endedAt: String, duration: Int
  isRoot: Boolean, childrenSpans: [Span!]
}
type SpanOutput { data: String, error: SpanError }
type SpanError { message: String, name: String, stack: String }
type Function { id: ID!, slug: String, name: String, appID: String, url: String }
type App {
  id: ID!, name: String, externalID: String, url: String, error: String, functionCount: Int
}
"""


async def post_gql(request: Request) -> Response:
    """Answer one GraphQL request."""
    body = await json_of(request)
    query = body.get("query") if isinstance(body, dict) else None
    if not isinstance(query, str) or len(query) > MAX_QUERY:
        return reply({"data": None, "errors": [{"message": "query is text"}]}, 422)
    variables = body.get("variables")
    result = answer(engine_of(request), query, variables if isinstance(variables, dict) else {})
    return reply(result)


def answer(engine: Engine, query: str, variables: dict[str, Any]) -> dict[str, Any]:
    """The result of the query as GraphQL over HTTP shows it."""
    schema = _schema()
    try:
        document = parse(query)
    except GraphQLError as error:
        return {"data": None, "errors": [error.formatted]}
    faults = validate(schema, document)
    if faults:
        return {"data": None, "errors": [fault.formatted for fault in faults]}
    result = execute(schema, document, root_value=_Root(engine), variable_values=variables)
    body: dict[str, Any] = {"data": getattr(result, "data", None)}
    if errors := getattr(result, "errors", None):
        body["errors"] = [error.formatted for error in errors]
    return body


@lru_cache(maxsize=1)
def _schema() -> GraphQLSchema:
    return build_schema(_SDL)


class _Root:
    """Each method answers the field of its name."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._world = engine.world

    def run(self, _info: Any, *, runID: str) -> dict[str, Any] | None:  # noqa: N803 - the vendor's name
        run = self._world.runs.get(runID)
        return None if run is None else self._run(run)

    def cancelRun(self, _info: Any, *, runID: str) -> dict[str, Any]:  # noqa: N802, N803
        run = self._world.runs.get(runID)
        if run is None:
            raise GraphQLError("run not found")
        if run.ended:
            raise GraphQLError("cannot cancel an ended run")
        self._engine.runner.cancel(run)
        return self._run(run)

    def runTrigger(self, _info: Any, *, runID: str) -> dict[str, Any] | None:  # noqa: N802, N803
        run = self._world.runs.get(runID)
        if run is None:
            return None
        payloads = [self._world.payload(event) for event in run.events]
        return {
            "eventName": payloads[0].get("name"),
            "IDs": run.events,
            "payloads": [orjson.dumps(payload).decode() for payload in payloads],
            "isBatch": run.is_batch,
            "cron": run.cron,
        }

    def runTraceSpanOutputByID(  # noqa: N802
        self,
        _info: Any,
        *,
        outputID: str,  # noqa: N803
    ) -> dict[str, Any] | None:
        run_id, _, span_id = outputID.partition(".")
        run = self._world.runs.get(run_id)
        for span in run.spans if run else ():
            if span.id == span_id:
                return trace.output_of(span)
        return None

    def event(self, _info: Any, *, query: dict[str, Any]) -> dict[str, Any] | None:
        event = self._world.events.get(query["eventId"])
        if event is None:
            return None
        runs = self._world.runs_of_event.get(event.internal_id, ())
        return {
            "id": event.internal_id,
            "name": event.name,
            "payload": event.payload.decode(),
            "functionRuns": [self._run(self._world.runs[run]) for run in runs],
        }

    def functions(self, _info: Any) -> list[dict[str, Any]]:
        return [
            {"id": fn.uuid, "slug": fn.slug, "name": fn.name, "appID": fn.app, "url": fn.url}
            for fn in self._world.live_functions()
        ]

    def apps(self, _info: Any) -> list[dict[str, Any]]:
        return [
            {
                "id": ids.name_uuid(app.id),
                "name": app.id,
                "externalID": app.id,
                "url": app.url,
                "error": app.sync_error,
                "functionCount": len(app.functions),
            }
            for app in self._world.apps.values()
        ]

    def _run(self, run: Run) -> dict[str, Any]:
        return {
            "id": run.id,
            "status": run.status,
            "output": None if run.output is None else run.output.decode(),
            "functionID": self._engine.world.function_of(run).uuid,
            "appID": ids.name_uuid(run.app),
            "eventID": run.events[0],
            "queuedAt": ids.iso(run.queued_at),
            "startedAt": _moment(run.started_at),
            "endedAt": _moment(run.ended_at),
            "cronSchedule": run.cron,
            "isBatch": run.is_batch,
            "trace": lambda _info: self._trace(run),
        }

    def _trace(self, run: Run) -> dict[str, Any]:
        return {
            "name": "Run",
            "status": run.status,
            "runID": run.id,
            "isRoot": True,
            "queuedAt": ids.iso(run.queued_at),
            "startedAt": _moment(run.started_at),
            "endedAt": _moment(run.ended_at),
            "childrenSpans": [_span(run, step) for step in trace.steps(run)],
        }


def _span(run: Run, step: dict[str, Any]) -> dict[str, Any]:
    span: Span = step["span"]
    return {
        "name": step["name"],
        "status": span.status,
        "attempts": step["attempts"],
        "stepID": span.step,
        "stepOp": span.op,
        "outputID": None if span.output is None else f"{run.id}.{span.id}",
        "spanID": span.id,
        "runID": run.id,
        "isRoot": False,
        "queuedAt": ids.iso(span.queued_at),
        "startedAt": ids.iso(step["started_at"]),
        "endedAt": _moment(span.ended_at),
        "duration": None if span.ended_at is None else span.ended_at - step["started_at"],
        "childrenSpans": [],
    }


def _moment(ms: int | None) -> str | None:
    return None if ms is None else ids.iso(ms)
