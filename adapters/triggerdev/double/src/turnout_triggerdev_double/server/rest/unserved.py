"""Paths of the real server that this one does not serve: refused at once, and in words."""

from collections.abc import Awaitable, Callable, Iterator

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from turnout_triggerdev_double.server.wiring import answer

FEATURES = {
    "/api/v1/sessions": "sessions",
    "/realtime/v1/sessions": "sessions",
    "/api/v1/runs/{run}/session-streams": "sessions",
    "/api/v1/prompts": "prompts",
    "/api/v1/query": "queries and dashboards",
    "/api/v1/reports": "reports",
    "/api/v1/errors": "groups of errors",
    "/api/v1/webhooks": "incoming webhooks",
    "/webhooks": "incoming webhooks",
    "/api/v1/queues/{queue:path}/metrics": "metrics of queues",
    "/api/v1/projects/{ref}/alertChannels": "alerts",
    "/api/v1/projects/{ref}/monitoring-alerts": "alerts",
    "/api/v1/projects/{ref}/branches": "preview branches",
    "/api/v1/orgs": "organizations",
    "/api/v1/artifacts": "remote builds",
    "/api/v1/remote-build-provider-status": "remote builds",
    "/api/v1/authorization-code": "logins",
    "/api/v1/token": "logins",
    "/engine/v1/worker-actions": "workers of a deployment",
}
_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")


def routes() -> Iterator[Route]:
    """Give the routes that refuse them: each path, and all below it."""
    for path, feature in FEATURES.items():
        for place in (path, f"{path}/{{below:path}}"):
            yield Route(place, _refusing(feature), methods=_METHODS)


def _refusing(feature: str) -> Callable[[Request], Awaitable[Response]]:
    async def refuse(request: Request) -> Response:
        error = (
            f"The offline server has no {feature}: {request.method} {request.url.path} needs a"
            " real Trigger.dev server"
        )
        # The vendor's clients take this as final, for plain calls and for streams.
        return answer({"error": error}, 422, {"x-should-retry": "false"})

    return refuse
