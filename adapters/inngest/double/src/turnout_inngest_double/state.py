"""What the server holds in memory, and how each piece is written down.

Payloads, outputs and memos stay the JSON bytes that came in: they are parsed only to be shown.
"""

from dataclasses import dataclass, field
from typing import Any, Literal, Self

import orjson

from turnout_inngest_double.functions import Function, parse_function

RunStatus = Literal["QUEUED", "RUNNING", "COMPLETED", "FAILED", "CANCELLED"]
ENDED: frozenset[str] = frozenset({"COMPLETED", "FAILED", "CANCELLED"})
ROOT_STEP = "step"
"""The step id of a request that targets no step."""
JOINING_VERSION = 2
"""The version of the SDK's protocol from which the server keeps account of what is open."""


@dataclass(kw_only=True)
class Event:
    """An event as it came in. `id` is the sender's, or ours when it gave none."""

    internal_id: str
    name: str
    due_at: int
    """The event's time on our clock: runs start no sooner."""
    payload: bytes
    """The event as the application gets it: data, id, name, ts, user."""
    received_at: int
    receipts: int = 1
    """How often it came in; a request that was sent again counts, and starts nothing."""

    def doc(self) -> dict[str, Any]:
        """What is written down."""
        return {
            "internal_id": self.internal_id,
            "name": self.name,
            "due_at": self.due_at,
            "payload": orjson.Fragment(self.payload),
            "received_at": self.received_at,
            "receipts": self.receipts,
        }

    @classmethod
    def load(cls, doc: dict[str, Any]) -> Self:
        """What was written down."""
        return cls(**{**doc, "payload": orjson.dumps(doc["payload"])})


@dataclass(kw_only=True)
class Job:
    """A call to the application that a run waits for. `step` is ROOT_STEP or the step to target."""

    id: str
    step: str = ROOT_STEP
    attempt: int = 0
    at: int
    queued_at: int
    group: str
    """The span that all attempts of this call share."""
    running: bool = False
    """In flight now; never written down, so that a restart asks again."""

    def doc(self) -> dict[str, Any]:
        """What is written down."""
        names = ("id", "step", "attempt", "at", "queued_at", "group")
        return {name: getattr(self, name) for name in names}


@dataclass(kw_only=True)
class Wait:
    """A step that ends without a call: a sleep, a wait for an event, an invoked function."""

    step: str
    kind: Literal["sleep", "event", "signal", "invoke", "gateway", "fetch"]
    at: int
    event: str | None = None
    condition: str | None = None
    child: str | None = None
    options: dict[str, Any] = field(default_factory=dict)
    span: str = ""

    def doc(self) -> dict[str, Any]:
        """What is written down."""
        return dict(vars(self))


@dataclass(frozen=True, kw_only=True)
class Summary:
    """What a call came to: of a step where one ran, else of the function."""

    status: Literal["COMPLETED", "FAILED"]
    output: bytes
    step: str | None = None
    name: str | None = None
    """The step's name as the user wrote it."""


@dataclass(kw_only=True)
class Span:
    """One attempt of a call, or one wait, as the trace shows it."""

    id: str
    group: str
    kind: Literal["call", "wait"]
    queued_at: int
    started_at: int
    ended_at: int | None = None
    status: str = "RUNNING"
    attempt: int = 0
    name: str | None = None
    step: str | None = None
    op: str | None = None
    output: bytes | None = None

    def doc(self) -> dict[str, Any]:
        """What is written down."""
        output = None if self.output is None else orjson.Fragment(self.output)
        return {**vars(self), "output": output}

    def describe(self, summary: Summary) -> None:
        """Write into the span what its call came to."""
        self.status, self.output = summary.status, summary.output
        if summary.step is not None:
            self.step, self.name, self.op = summary.step, summary.name, "RUN"

    @classmethod
    def load(cls, doc: dict[str, Any]) -> Self:
        """What was written down."""
        output = doc["output"]
        has_output = doc["status"] in ENDED
        return cls(**{**doc, "output": orjson.dumps(output) if has_output else None})


@dataclass(kw_only=True)
class Parent:
    """The run and the step that invoked this run."""

    run: str
    step: str


@dataclass(kw_only=True)
class Run:
    """One execution of a function."""

    id: str
    function: str
    app: str
    events: list[str]
    queued_at: int
    due_at: int
    status: RunStatus = "QUEUED"
    started_at: int | None = None
    ended_at: int | None = None
    is_batch: bool = False
    cron: str | None = None
    parent: Parent | None = None
    singleton: str | None = None
    version: int = -1
    stack: list[str] = field(default_factory=list)
    planned: dict[str, bool] = field(default_factory=dict)
    """Steps planned and not done, each with whether it races."""
    open: list[str] = field(default_factory=list)
    """Steps that the server thinks are not done, before which it does not go on unless they race.

    Each plan of several replaces the list, whatever has been done since it was asked for: so a step
    may stay open for ever, as on the vendor's server.
    """
    gone_on: list[str] = field(default_factory=list)
    """Steps after which the function was called again, which happens once for each."""
    plans_all: bool = False
    """Whether the application is told to plan its next step instead of running it at once."""
    jobs: dict[str, Job] = field(default_factory=dict)
    waits: dict[str, Wait] = field(default_factory=dict)
    output: bytes | None = None
    memos: dict[str, bytes] = field(default_factory=dict)
    spans: list[Span] = field(default_factory=list)
    trace: str = ""

    @property
    def ended(self) -> bool:
        """Whether the run is terminal."""
        return self.status in ENDED

    def doc(self) -> dict[str, Any]:
        """Everything but memos and spans, which are written one by one."""
        fields = {k: v for k, v in vars(self).items() if k not in {"memos", "spans"}}
        return {
            **fields,
            "parent": None if self.parent is None else vars(self.parent),
            "jobs": [job.doc() for job in self.jobs.values()],
            "waits": [wait.doc() for wait in self.waits.values()],
            "output": None if self.output is None else {"json": orjson.Fragment(self.output)},
        }

    @classmethod
    def load(cls, doc: dict[str, Any]) -> Self:
        """What was written down."""
        parent, output = doc["parent"], doc["output"]
        return cls(
            **{
                **doc,
                "parent": parent and Parent(**parent),
                "jobs": {job["id"]: Job(**job) for job in doc["jobs"]},
                "waits": {wait["step"]: Wait(**wait) for wait in doc["waits"]},
                "output": None if output is None else orjson.dumps(output["json"]),
            }
        )


@dataclass(kw_only=True)
class App:
    """One application: its functions are replaced whole by each sync."""

    id: str
    created_at: int
    url: str = ""
    version: str | None = None
    framework: str | None = None
    sdk: str = ""
    checksum: str = ""
    sync_error: str | None = None
    method: Literal["SERVE", "CONNECT"] = "SERVE"
    functions: dict[str, Function] = field(default_factory=dict)

    def doc(self) -> dict[str, Any]:
        """What is written down."""
        fields = {k: v for k, v in vars(self).items() if k != "functions"}
        return {**fields, "functions": [dict(fn.raw) for fn in self.functions.values()]}

    @classmethod
    def load(cls, doc: dict[str, Any]) -> Self:
        """What was written down."""
        functions = [parse_function(doc["id"], raw) for raw in doc["functions"]]
        return cls(**{**doc, "functions": {fn.slug: fn for fn in functions}})
