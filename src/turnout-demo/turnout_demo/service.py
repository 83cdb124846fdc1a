"""The example service: FastAPI, with one endpoint for each provider that calls it.

Run it under any provider, unchanged: `ORCHESTRATOR_PROVIDER=… uvicorn turnout_demo.service:service`
with `--factory`.
"""

from typing import Any

import orjson
from fastapi import FastAPI, HTTPException

import turnout
from turnout.errors import UnknownRun, WrongUse
from turnout.model.events import Event
from turnout.model.status import StepKind
from turnout_demo.tasks import AgentRequest, agents


def service() -> FastAPI:
    """Make the application from the environment."""
    live = turnout.open_turnout(agents)
    api = FastAPI(title="Agent service", lifespan=turnout.lifespan(live))

    @api.post("/runs", status_code=202)
    async def start(request: AgentRequest, key: str | None = None) -> dict[str, str]:
        """Start an agent run."""
        event = Event(name="agent/run.requested", payload=request, key=key)
        (emitted,) = await live.orchestrator.emit(event)
        return {"run_id": emitted.runs[0].run_id}

    @api.post("/events/{name:path}", status_code=202)
    async def happened(name: str, payload: dict[str, Any]) -> dict[str, Any]:
        """Take any event: approvals, stamps."""
        try:
            (emitted,) = await live.orchestrator.emit(Event(name=name, payload=payload))
        except WrongUse as error:
            raise HTTPException(422, str(error)) from None
        return {"event_id": emitted.event_id, "runs": [run.run_id for run in emitted.runs]}

    @api.get("/runs/{run_id}")
    async def show(run_id: str) -> dict[str, Any]:
        """Report on a run."""
        try:
            report = await live.orchestrator.status(run_id)
        except UnknownRun as error:
            raise HTTPException(404, str(error)) from None
        run, steps = report.journal.run, report.journal.steps.values()
        waits = [step.step for step in steps if step.kind is StepKind.EVENT and not step.ended_at]
        return {
            "run_id": run_id,
            "state": run.state,
            "provider": run.provider,
            "agent_id": orjson.loads(run.payload).get("agent_id"),
            "waits_for": waits[0] if waits and run.parked else None,
        }

    api.router.routes.extend(turnout.routes(live))
    return api
