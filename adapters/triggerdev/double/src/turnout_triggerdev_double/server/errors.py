"""Refusals, with the statuses and bodies of the real server."""

from typing import Any


class ApiRefusal(Exception):
    """An answer that is not a success."""

    def __init__(self, status: int, body: Any, *, headers: dict[str, str] | None = None) -> None:
        super().__init__(str(body))
        self.status = status
        self.body = body
        self.headers = headers or {}


def refused(status: int, error: str, **fields: Any) -> ApiRefusal:
    """`{"error": …}`."""
    return ApiRefusal(status, {"error": error, **fields})


def not_found(error: str = "Not found") -> ApiRefusal:
    """A 404 that the vendor's clients try again, since its reads lag behind its writes."""
    return ApiRefusal(404, {"error": error}, headers={"x-should-retry": "true"})


def query_error(**detail: Any) -> ApiRefusal:
    """A wrong query parameter."""
    return ApiRefusal(400, {"error": "Query Error", "details": [detail]})


def body_issues(*issues: dict[str, Any]) -> ApiRefusal:
    """A wrong body on the older routes."""
    return ApiRefusal(400, {"error": "Invalid request body", "issues": list(issues)})


def missing(name: str, expected: str = "string") -> dict[str, Any]:
    """The issue of a field that is not there."""
    return {
        "code": "invalid_type",
        "expected": expected,
        "received": "undefined",
        "path": [name],
        "message": "Required",
    }


def problem(status: int, title: str, detail: str, **fields: Any) -> ApiRefusal:
    """An `application/problem+json` answer."""
    body = {
        "title": title,
        "status": status,
        "type": f"https://developer.mozilla.org/en-US/docs/Web/HTTP/Status/{status}",
        "detail": detail,
        **fields,
        "error": detail,
    }
    kind = "application/problem+json; charset=utf-8"
    return ApiRefusal(status, body, headers={"content-type": kind})


class StaleSnapshot(ApiRefusal):
    """The run has moved on since the snapshot that the worker names."""

    def __init__(self, run: str) -> None:
        super().__init__(409, {"error": f"Snapshot is no longer the latest one of {run}"})
