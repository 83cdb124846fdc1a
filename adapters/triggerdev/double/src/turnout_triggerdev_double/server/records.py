"""What the server remembers: plain records, each kept as one JSON document.

Times are milliseconds since the epoch. Ids are the vendor's, prefix included.
"""

from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True, kw_only=True)
class RunRecord:
    """One run of a task, with the snapshot it is in."""

    id: str
    env: str
    task: str
    created_at: int
    updated_at: int
    status: str = "PENDING"
    execution_status: str = "RUN_CREATED"
    snapshot_id: str = ""
    snapshot_at: int = 0
    description: str = ""
    payload: str | None = None
    payload_type: str = "application/json"
    queue: str = ""
    concurrency_key: str | None = None
    limits: list[str] | None = None
    priority: int = 0
    queued_at: int = 0
    available_at: int = 0
    delayed_until: int | None = None
    ttl: str | None = None
    ttl_at: int | None = None
    attempt: int = 0
    max_attempts: int | None = None
    requeues: int = 0
    idempotency_key: str | None = None
    idempotency_expires_at: int | None = None
    idempotency_scope: str | None = None
    user_key: str | None = None
    tags: list[str] = field(default_factory=list)
    realtime_streams: list[str] = field(default_factory=list)
    input_waits: dict[str, str] = field(default_factory=dict)
    """The waitpoint that the next input of a stream completes."""
    metadata: str | None = None
    started_at: int | None = None
    finished_at: int | None = None
    expired_at: int | None = None
    worker: str | None = None
    version: str | None = None
    locked_version: str | None = None
    owner: str | None = None
    heartbeat_at: int = 0
    parent: str | None = None
    root: str | None = None
    children: list[str] = field(default_factory=list)
    depth: int = 0
    batch: str | None = None
    trigger_function: str = "trigger"
    resume_parent: bool = False
    schedule: str | None = None
    task_kind: str = "STANDARD"
    is_test: bool = False
    is_replay: bool = False
    debounce_key: str | None = None
    machine: str = "small-1x"
    max_duration: int | None = None
    error: dict[str, Any] | None = None
    output: str | None = None
    output_type: str | None = None
    duration_ms: int = 0
    trace_id: str = ""
    span_id: str = ""
    parent_span: str | None = None
    waitpoint: str | None = None
    blocks: list[dict[str, Any]] = field(default_factory=list)
    resumed: list[dict[str, Any]] = field(default_factory=list)


@dataclass(slots=True, kw_only=True)
class Waitpoint:
    """Something that runs wait for: a token, a moment, a run or a batch."""

    id: str
    env: str
    type: str
    created_at: int
    status: str = "PENDING"
    completed_at: int | None = None
    due: int | None = None
    idempotency_key: str = ""
    user_key: bool = False
    idempotency_expires_at: int | None = None
    tags: list[str] = field(default_factory=list)
    output: str | None = None
    output_type: str | None = None
    output_is_error: bool = False
    run: str | None = None
    waiters: list[str] = field(default_factory=list)


@dataclass(slots=True, kw_only=True)
class Batch:
    """Several runs that were triggered together."""

    id: str
    env: str
    created_at: int
    updated_at: int
    run_count: int
    generation: int
    status: str = "PENDING"
    sealed: bool = False
    processed_at: int | None = None
    """When the last of its runs was made."""
    items: list[dict[str, Any]] = field(default_factory=list)
    """What was sent and is no run yet."""
    runs: list[str] = field(default_factory=list)
    indexes: list[int] = field(default_factory=list)
    """The indexes of the items that have come."""
    errors: list[dict[str, Any]] = field(default_factory=list)
    parent: str | None = None
    resume_parent: bool = False
    idempotency_key: str | None = None


@dataclass(slots=True, kw_only=True)
class ScheduleRecord:
    """A cron that starts a task, kept by the API or declared by a worker."""

    id: str
    project: str
    env: str
    type: str
    task: str
    cron: str
    timezone: str
    created_at: int
    active: bool = True
    external_id: str | None = None
    deduplication_key: str | None = None
    window: str | None = None
    spread: float = 0.0
    last_tick: int | None = None
    next_tick: int | None = None


@dataclass(slots=True, kw_only=True)
class WorkerVersion:
    """A registered version of the tasks."""

    id: str
    env: str
    version: str
    content_hash: str
    created_at: int
    cli_version: str | None = None
    package_version: str | None = None
    tasks: dict[str, dict[str, Any]] = field(default_factory=dict)
    queues: dict[str, dict[str, Any]] = field(default_factory=dict)
    limits: dict[str, dict[str, Any]] = field(default_factory=dict)
    current_since: int = 0
    """When it was promoted; a version is current from its registration on, too."""
    promoted: bool = True
    """False for a deployment's until it is promoted."""


@dataclass(slots=True, kw_only=True)
class Deployment:
    """One run of `trigger deploy`: its number, and how far it is."""

    id: str
    env: str
    version: str
    content_hash: str
    created_at: int
    runtime: str = "node"
    status: str = "BUILDING"
    worker: str | None = None
    image: str = ""
    error: dict[str, Any] | None = None
    deployed_at: int | None = None


@dataclass(slots=True, kw_only=True)
class BulkAction:
    """One action on many runs; `runs` are those it was asked for and those that it made."""

    id: str
    env: str
    type: str
    created_at: int
    name: str | None = None
    status: str = "PENDING"
    runs: list[str] = field(default_factory=list)
    success: int = 0
    failure: int = 0
    completed_at: int | None = None


@dataclass(slots=True, kw_only=True)
class TaskQueue:
    """A queue that a worker declared, or that a task has by default."""

    id: str
    env: str
    name: str
    limit: int | None = None
    override: int | None = None
    overridden_at: int | None = None
    paused: bool = False
    total: int | None = None


@dataclass(slots=True, kw_only=True)
class ConcurrencyLimit:
    """A concurrency limit, per key and in total: named, or a task's own (`task/<id>`)."""

    id: str
    env: str
    name: str
    per_key: int | None = None
    total: int | None = None
    override: dict[str, int] | None = None
    overridden_at: int | None = None
    paused: bool = False


@dataclass(slots=True, kw_only=True)
class Variable:
    """An environment variable."""

    id: str
    env: str
    name: str
    value: str
    secret: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """One environment of the one project that the server serves."""

    id: str
    slug: str
    type: str
    key: str
    project: str
    concurrency: int
