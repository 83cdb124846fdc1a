"""The server's state in memory, backed by the store."""

import asyncio
from bisect import insort
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from turnout_triggerdev_double.server.clock import Alarms, ServerClock
from turnout_triggerdev_double.server.ids import new_id
from turnout_triggerdev_double.server.lanes import Lane, Lanes, SlotKey, SlotLimit
from turnout_triggerdev_double.server.notices import RunNotices, RunRevisions
from turnout_triggerdev_double.server.records import (
    Batch,
    BulkAction,
    ConcurrencyLimit,
    Deployment,
    Environment,
    RunRecord,
    ScheduleRecord,
    TaskQueue,
    Variable,
    Waitpoint,
    WorkerVersion,
)
from turnout_triggerdev_double.server.statuses import RELEASES_KEY
from turnout_triggerdev_double.server.store import Record, RecordStore


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    """The one project that the server serves, and who it says is its user."""

    id: str
    ref: str
    name: str
    organization: str
    user: str
    access_token: str
    url: str


@dataclass(slots=True, kw_only=True)
class OfflineWorld:
    """The records by id, the indexes over them, and the parts that move them."""

    clock: ServerClock
    store: RecordStore
    project: Project
    environments: tuple[Environment, ...]
    runs: dict[str, RunRecord] = field(default_factory=dict)
    waitpoints: dict[str, Waitpoint] = field(default_factory=dict)
    batches: dict[str, Batch] = field(default_factory=dict)
    schedules: dict[str, ScheduleRecord] = field(default_factory=dict)
    bulk_actions: dict[str, BulkAction] = field(default_factory=dict)
    deployments: dict[str, Deployment] = field(default_factory=dict)
    workers: dict[str, WorkerVersion] = field(default_factory=dict)
    queues: dict[tuple[str, str], TaskQueue] = field(default_factory=dict)
    limits: dict[tuple[str, str], ConcurrencyLimit] = field(default_factory=dict)
    variables: dict[tuple[str, str], Variable] = field(default_factory=dict)
    current: dict[str, WorkerVersion] = field(default_factory=dict)
    keys: dict[tuple[str, str, str], str] = field(default_factory=dict)
    token_keys: dict[tuple[str, str], str] = field(default_factory=dict)
    batch_keys: dict[tuple[str, str], str] = field(default_factory=dict)
    debounced: dict[tuple[str, str, str], str] = field(default_factory=dict)
    timeline: dict[str, list[tuple[int, str]]] = field(default_factory=lambda: defaultdict(list))
    tagged: dict[tuple[str, str], list[tuple[int, str]]] = field(
        default_factory=lambda: defaultdict(list)
    )
    queued: dict[tuple[str, str], int] = field(default_factory=lambda: defaultdict(int))
    connected: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    owners: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    alarms: Alarms = field(init=False)
    lanes: Lanes = field(init=False)
    notices: RunNotices = field(init=False)
    revisions: RunRevisions = field(init=False)
    used_tokens: set[str] = field(default_factory=set)
    """Public tokens for one use that have been used."""

    def __post_init__(self) -> None:
        self.alarms = Alarms(self.clock)
        self.lanes = Lanes(self._slots)
        self.notices = RunNotices()
        self.revisions = RunRevisions(self.now() * 1000)
        self.store.on_put = self._put

    def _put(self, record: Record) -> None:
        if isinstance(record, RunRecord):
            self.revisions.note(record.env, record.id)

    def now(self) -> int:
        """Milliseconds since the epoch."""
        return self.clock.now()

    def environment(self, env: str) -> Environment:
        """The environment of this id."""
        return next(environment for environment in self.environments if environment.id == env)

    def add(self, record: Record) -> None:
        """Add a new or a loaded record, and index it."""
        match record:
            case RunRecord():
                self.runs[record.id] = record
                insort(self.timeline[record.env], (record.created_at, record.id))
                self.tag(record, record.tags)
                if record.idempotency_key and record.status not in RELEASES_KEY:
                    self.keys[(record.env, record.task, record.idempotency_key)] = record.id
                if record.debounce_key:
                    self.debounced[(record.env, record.task, record.debounce_key)] = record.id
            case Waitpoint():
                self.waitpoints[record.id] = record
                self.token_keys[(record.env, record.idempotency_key)] = record.id
            case Batch():
                self.batches[record.id] = record
                if record.idempotency_key:
                    self.batch_keys[(record.env, record.idempotency_key)] = record.id
            case ScheduleRecord():
                self.schedules[record.id] = record
            case BulkAction():
                self.bulk_actions[record.id] = record
            case _:
                self._add_declared(record)

    def _add_declared(
        self, record: Deployment | WorkerVersion | TaskQueue | ConcurrencyLimit | Variable
    ) -> None:
        match record:
            case Deployment():
                self.deployments[record.id] = record
            case WorkerVersion():
                self.workers[record.id] = record
                current = self.current.get(record.env)
                if record.promoted and (current is None or _since(current) <= _since(record)):
                    self.current[record.env] = record
            case TaskQueue():
                self.queues[(record.env, record.name)] = record
            case ConcurrencyLimit():
                self.limits[(record.env, record.name)] = record
            case Variable():
                self.variables[(record.env, record.name)] = record

    def tag(self, run: RunRecord, tags: Iterable[str]) -> None:
        """Index the run by these tags."""
        for tag in tags:
            insort(self.tagged[(run.env, tag)], (run.created_at, run.id))

    def stop(self) -> None:
        """End all waiting calls."""
        self.stopping.set()
        for env in self.environments:
            self.notices.work_arrived(env.id)
            self.revisions.changed.ring(env.id)
            self.notices.run_moved(env.id, "")

    def queue(self, env: str, name: str) -> TaskQueue:
        """The queue of this name; made when it is missing."""
        queue = self.queues.get((env, name))
        if queue is None:
            queue = TaskQueue(id=new_id("queue", self.now()), env=env, name=name)
            self.queues[(env, name)] = queue
            self.store.put(queue)
        return queue

    def lane_of(self, run: RunRecord) -> Lane:
        """The run's lane: runs of one lane need the same slots."""
        limits = run.limits if run.limits is not None else self.named_limits(run)
        return (run.env, run.queue, run.concurrency_key, run.task, tuple(limits))

    def named_limits(self, run: RunRecord) -> list[str]:
        """The named limits that the run's task declares."""
        worker = self.current.get(run.env)
        task = worker.tasks.get(run.task, {}) if worker else {}
        return list((task.get("concurrency") or {}).get("limits") or [])

    def slot_keys(self, run: RunRecord) -> list[SlotKey]:
        """The slots that the run occupies while a worker has it."""
        return [key for key, _ in self._slots(self.lane_of(run))]

    def _slots(self, lane: Lane) -> Iterable[SlotLimit]:
        env, queue_name, key, task, limits = lane
        assert isinstance(env, str)
        assert isinstance(queue_name, str)
        assert isinstance(limits, tuple)
        yield ("env", env), self.environment(env).concurrency
        queue = self.queues.get((env, queue_name))
        if queue is not None:
            allowed = queue.limit if queue.override is None else queue.override
            paused = 0 if queue.paused else None
            yield ("queue", env, queue_name), paused if paused is not None else queue.total
            yield ("queue", env, queue_name, key), allowed
        for name in (f"task/{task}", *limits):
            limit = self.limits.get((env, name))
            if limit is None:
                continue
            yield ("limit", env, name), 0 if limit.paused else _effective(limit, "total")
            yield ("limit", env, name, key), _effective(limit, "perKey")


def _since(worker: WorkerVersion) -> int:
    return max(worker.created_at, worker.current_since)


def _effective(limit: ConcurrencyLimit, kind: str) -> int | None:
    if limit.override is not None and kind in limit.override:
        return limit.override[kind]
    return limit.total if kind == "total" else limit.per_key
