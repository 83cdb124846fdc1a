"""The vendor's statuses of a run, in both of its vocabularies."""

from typing import Any

TERMINAL = frozenset(
    {
        "COMPLETED_SUCCESSFULLY",
        "COMPLETED_WITH_ERRORS",
        "CANCELED",
        "CRASHED",
        "SYSTEM_FAILURE",
        "EXPIRED",
        "TIMED_OUT",
        "INTERRUPTED",
    }
)

RELEASES_KEY = TERMINAL - {"COMPLETED_SUCCESSFULLY", "CANCELED"}
"""Ends after which a run's idempotency key starts another one."""

_CURRENT = {
    "PENDING_VERSION": "PENDING_VERSION",
    "WAITING_FOR_DEPLOY": "PENDING_VERSION",
    "DELAYED": "DELAYED",
    "PENDING": "QUEUED",
    "DEQUEUED": "DEQUEUED",
    "EXECUTING": "EXECUTING",
    "RETRYING_AFTER_FAILURE": "EXECUTING",
    "WAITING_TO_RESUME": "WAITING",
    "PAUSED": "WAITING",
    "COMPLETED_SUCCESSFULLY": "COMPLETED",
    "CANCELED": "CANCELED",
    "COMPLETED_WITH_ERRORS": "FAILED",
    "INTERRUPTED": "FAILED",
    "CRASHED": "CRASHED",
    "SYSTEM_FAILURE": "SYSTEM_FAILURE",
    "EXPIRED": "EXPIRED",
    "TIMED_OUT": "TIMED_OUT",
}
_LEGACY = _CURRENT | {"DEQUEUED": "EXECUTING", "WAITING_TO_RESUME": "FROZEN"}

API_STATUSES = frozenset(_CURRENT.values()) | {
    "FROZEN",
    "INTERRUPTED",
    "REATTEMPTING",
    "WAITING_FOR_DEPLOY",
}

CURRENT_VERSION = "2025-07-16"

_FAILED = frozenset(
    {
        "TASK_INPUT_ERROR",
        "TASK_OUTPUT_ERROR",
        "TASK_MIDDLEWARE_ERROR",
        "TASK_RUN_UNCAUGHT_EXCEPTION",
        "HANDLE_ERROR_ERROR",
        "TASK_EXECUTION_ABORTED",
    }
)
_CRASHED = frozenset(
    {
        "TASK_PROCESS_OOM_KILLED",
        "TASK_PROCESS_MAYBE_OOM_KILLED",
        "TASK_PROCESS_SIGSEGV",
        "TASK_PROCESS_SIGTERM",
        "TASK_PROCESS_EXITED_WITH_NON_ZERO_CODE",
        "OUTDATED_SDK_VERSION",
        "DISK_SPACE_EXCEEDED",
    }
)

RETRIED_BY_SERVER = frozenset(
    {
        "TASK_PROCESS_EXITED_WITH_NON_ZERO_CODE",
        "TASK_PROCESS_SIGTERM",
        "TASK_PROCESS_SIGSEGV",
        "TASK_RUN_UNCAUGHT_EXCEPTION",
        "TASK_MIDDLEWARE_ERROR",
    }
)
"""Internal errors for which the server, not the worker, reads the task's retry settings."""


def api_status(status: str, version: str | None) -> str:
    """The status as this version of the API shows it."""
    return (_CURRENT if version == CURRENT_VERSION else _LEGACY)[status]


def flags(status: str) -> dict[str, bool]:
    """The booleans of the API; all are false for EXPIRED and TIMED_OUT, as on the real server."""
    word = _CURRENT[status]
    failed = word in {"FAILED", "CANCELED", "CRASHED", "SYSTEM_FAILURE"}
    return {
        "isQueued": word in {"QUEUED", "DELAYED", "PENDING_VERSION"},
        "isExecuting": word in {"EXECUTING", "DEQUEUED"},
        "isCompleted": failed or word == "COMPLETED",
        "isFailed": failed,
        "isSuccess": word == "COMPLETED",
        "isCancelled": word == "CANCELED",
        "isWaiting": word == "WAITING",
    }


def status_of_error(error: dict[str, Any]) -> str:
    """The final status of a run that ends with this error."""
    if error.get("type") != "INTERNAL_ERROR":
        return "COMPLETED_WITH_ERRORS"
    code = error.get("code")
    if code == "MAX_DURATION_EXCEEDED":
        return "TIMED_OUT"
    if code == "TASK_RUN_CANCELLED":
        return "CANCELED"
    if code in _CRASHED:
        return "CRASHED"
    return "COMPLETED_WITH_ERRORS" if code in _FAILED else "SYSTEM_FAILURE"


def api_error(error: dict[str, Any]) -> dict[str, Any]:
    """The error as the API shows it."""
    kind = error.get("type")
    if kind == "BUILT_IN_ERROR":
        return {
            "name": error.get("name", "Error"),
            "message": error.get("message", ""),
            "stackTrace": error.get("stackTrace", ""),
        }
    if kind == "INTERNAL_ERROR":
        return {"message": f"trigger.dev internal error ({error.get('code')})"}
    return {"message": str(error.get("raw", ""))}
