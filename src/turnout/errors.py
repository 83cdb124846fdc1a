"""Every error that Turnout raises.

A class says what a caller can do about it; its docstring is the default message; the text names
the field or the fix.

::

    TurnoutError
    ├── WrongUse                    the caller must change something; never retried
    │   ├── InvalidSettings         environment, .env or turnout.toml; all faults at once
    │   │   └── LaptopSetting       is for development, and TURNOUT_ENV is not development
    │   ├── InvalidDefinition       a task, a schedule or a policy that cannot be
    │   │   └── PolicyRefused       a provider cannot honour it exactly
    │   ├── InvalidPayload          does not fit the task's model; names the field's path
    │   ├── InvalidJson             not strict JSON; names the place
    │   ├── InvalidRunId
    │   ├── UnknownProvider
    │   ├── IncompatibleAdapter     speaks another version of the port
    │   ├── UnknownTask
    │   ├── UnknownRun
    │   └── TooLarge
    ├── Refused                     a call that lost; end quietly, never retried
    │   ├── Superseded              a newer delivery or another vendor run holds the run
    │   ├── RunEnded                already completed, failed, cancelled or timed out
    │   └── Unauthorised            the signature is missing, stale or wrong
    ├── Unavailable                 try the same call again later
    │   ├── ProviderUnavailable
    │   ├── StoreUnavailable
    │   └── Overloaded
    ├── DefinitionMismatch          a worker of another definition or protocol
    ├── ArtifactError               an artifact is missing, or is not what it must be
    │   ├── ArtifactMissing
    │   ├── ArtifactExists          it is written once, and is there already
    │   ├── ArtifactChanged         not the version that was expected
    │   └── ArtifactInvalid
    ├── ProviderRefused             the provider refused, and gave a reason
    ├── UnmappedStatus              a vendor's word that our table lacks
    └── TaskError                   raised into, or by, user code
        ├── StepFailed              a step used up its attempts
        ├── NonRetryable            do not try this step again
        ├── RetryAfter              try this step again, no sooner than given
        └── ReplayError             the function cannot be replayed
            ├── DuplicateStep       one id twice in a run
            ├── StepChanged         a recorded id asked for as another kind
            ├── ModelChanged        a record does not fit the code's models; the run waits
            └── ForeignAwait        something other than ctx.* awaited at the top level
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any, Self


class TurnoutError(Exception):
    """Something went wrong in Turnout."""

    code = "error"
    """A stable word for logs, JSON output and the wire."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or type(self).__doc__ or type(self).__name__)


class WrongUse(TurnoutError):
    """The call cannot be right as it is."""

    code = "wrong_use"


class InvalidSettings(WrongUse):
    """The settings are not complete, or not right."""

    code = "invalid_settings"


class LaptopSetting(InvalidSettings):
    """A setting is meant for development, and TURNOUT_ENV is not development."""


class InvalidDefinition(WrongUse):
    """The task or schedule cannot be defined like this."""

    code = "invalid_definition"


class PolicyRefused(InvalidDefinition):
    """The provider cannot honour this policy exactly."""

    code = "policy_refused"


class InvalidPayload(WrongUse):
    """The payload does not fit the task."""

    code = "invalid_payload"


class InvalidJson(WrongUse):
    """The value or the text is not strict JSON."""

    code = "invalid_json"

    def __init__(self, message: str | None = None, *, pointer: str = "") -> None:
        super().__init__(f"{pointer}: {message}" if pointer and message else message)
        self.pointer = pointer
        """The place, as a JSON Pointer; empty where the text as a whole is wrong."""


class InvalidRunId(WrongUse):
    """A run id is one safe path segment and does not end in -dryrun."""

    code = "invalid_run_id"


class UnknownProvider(WrongUse):
    """No adapter of that name is installed."""

    code = "unknown_provider"


class IncompatibleAdapter(WrongUse):
    """The adapter speaks another version of the port."""

    code = "incompatible_adapter"


class UnknownTask(WrongUse):
    """No task of that name is defined."""

    code = "unknown_task"


class UnknownRun(WrongUse):
    """No run of that id is known."""

    code = "unknown_run"


class TooLarge(WrongUse):
    """The value is larger than the limit."""

    code = "too_large"


class Refused(TurnoutError):
    """The call lost to another one and must end quietly."""

    code = "refused"


class Superseded(Refused):
    """Another delivery, or another vendor run, holds this run."""

    code = "superseded"


class RunEnded(Refused):
    """The run has ended."""

    code = "finished"


class Unauthorised(Refused):
    """The signature is missing, too old or wrong."""

    code = "unauthorised"


class Unavailable(TurnoutError):
    """Not now; the same call may succeed later."""

    code = "unavailable"

    def __init__(self, message: str | None = None, *, retry_after: timedelta | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class ProviderUnavailable(Unavailable):
    """The provider does not answer."""

    code = "provider_unavailable"


class StoreUnavailable(Unavailable):
    """The store does not answer."""

    code = "store_unavailable"


class Overloaded(Unavailable):
    """The service has no room for this call now."""

    code = "overloaded"


class DefinitionMismatch(TurnoutError):
    """The worker speaks another protocol, or knows another definition of the tasks."""

    code = "definition_mismatch"


class ArtifactError(TurnoutError):
    """The artifact is missing, or is not what it must be."""

    code = "artifact_error"


class ArtifactMissing(ArtifactError):
    """There is no artifact under this key."""

    code = "artifact_missing"


class ArtifactExists(ArtifactError):
    """There is already an artifact under this key, and an artifact is written once."""

    code = "artifact_exists"


class ArtifactChanged(ArtifactError):
    """The artifact is not the version that was expected."""

    code = "artifact_changed"


class ArtifactInvalid(ArtifactError):
    """The artifact is not what its schema promises."""

    code = "artifact_invalid"

    def __init__(self, message: str | None = None, *, pointer: str = "") -> None:
        super().__init__(message)
        self.pointer = pointer
        """The place of the first fault, as a JSON Pointer; empty for the document as a whole."""


class ProviderRefused(TurnoutError):
    """The provider refused, and says why."""

    code = "provider_refused"


class UnmappedStatus(TurnoutError):
    """The provider used a status that the adapter's table does not map."""

    code = "unmapped_status"


class TaskError(TurnoutError):
    """Raised into, or by, a task's own code."""

    code = "task_error"


class StepFailed(TaskError):
    """The step used up its attempts.

    `error` is the last attempt's error as recorded: its class's name and its message.
    """

    code = "step_failed"

    def __init__(self, step: str, name: str, message: str, *, attempts: int) -> None:
        super().__init__(f"step {step!r} failed after {attempts} attempt(s): {name}: {message}")
        self.step = step
        self.name = name
        self.message = message
        self.attempts = attempts


class NonRetryable(TaskError):
    """Do not try this step again."""

    code = "non_retryable"


class RetryAfter(TaskError):
    """Try this step again, no sooner than after `delay`."""

    code = "retry_after"

    def __init__(self, delay: timedelta | float | datetime, message: str | None = None) -> None:
        super().__init__(message)
        self.delay = delay
        """A duration, seconds, or an aware moment."""


class ReplayError(TaskError):
    """The task function cannot be replayed from its journal."""

    code = "replay_error"


class DuplicateStep(ReplayError):
    """One step id is used twice in a run; give each step an id of its own."""

    code = "duplicate_step"


class StepChanged(ReplayError):
    """A recorded step is asked for as another kind; give the new one a new id."""

    code = "step_changed"


class ModelChanged(ReplayError):
    """What the run has recorded does not fit the models of this code."""

    code = "model_changed"


class ForeignAwait(ReplayError):
    """Only ctx.* is awaited in a task function; put other awaits into a step."""

    code = "foreign_await"


@contextmanager
def foreign_errors_translated() -> Iterator[None]:
    """Turn errors of an adapter that are not TurnoutErrors into ProviderUnavailable.

    For calls that are repeated later whatever went wrong.
    """
    try:
        yield
    except TurnoutError:
        raise
    except Exception as error:
        raise ProviderUnavailable(f"{type(error).__name__}: {error}") from error


class FailureLog:
    """Logs whatever goes wrong within its `with`, and goes on behind it.

    For the outermost edge of a loop, a thread or a call: one piece of work may fail in any way, the
    loop around it may not. An error of ours is a warning; any other comes with its traceback.
    """

    __slots__ = ("_action", "_fields", "_log", "_message", "error")

    def __init__(self, log: logging.Logger, message: str, *, action: str, **fields: Any) -> None:
        self.error: Exception | None = None
        """What went wrong; None where nothing did."""
        self._log = log
        self._message = message
        self._action = action
        self._fields = fields

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: object
    ) -> bool:
        if not isinstance(error, Exception):
            return False
        self.error = error
        log_failure(self._log, self._message, error, action=self._action, **self._fields)
        return True


def log_failure(
    log: logging.Logger, message: str, error: Exception, *, action: str, **fields: Any
) -> None:
    """Log an error of ours as a warning, and any other with its traceback."""
    extra = {"action": action, **fields}
    if isinstance(error, TurnoutError):
        log.warning(message, extra={**extra, "error": str(error)})
    else:
        log.error(message, exc_info=error, extra=extra)


class UnexpectedLog(FailureLog):
    """Logs an unexpected error within its `with`, and goes on behind it; raises an error of ours.

    For the edge at which an unexpected error becomes the recorded failure of a run.
    """

    __slots__ = ()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: object
    ) -> bool:
        return not isinstance(error, TurnoutError) and super().__exit__(kind, error, trace)
