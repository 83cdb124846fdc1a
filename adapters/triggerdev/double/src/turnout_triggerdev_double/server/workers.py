"""Registers what a worker declares: its version, tasks, queues, limits and schedules."""

from datetime import UTC, datetime
from typing import Any

from turnout_triggerdev_double.server import engine, scheduler
from turnout_triggerdev_double.server.cron import check
from turnout_triggerdev_double.server.ids import new_id
from turnout_triggerdev_double.server.records import (
    ConcurrencyLimit,
    Deployment,
    Environment,
    ScheduleRecord,
    WorkerVersion,
)
from turnout_triggerdev_double.server.world import OfflineWorld


def register(world: OfflineWorld, env: Environment, metadata: dict[str, Any]) -> WorkerVersion:
    """The version that these tasks make; the current version again if nothing changed."""
    current = world.current.get(env.id)
    digest = str(metadata.get("contentHash", ""))
    tasks = {task["id"]: task for task in metadata.get("tasks") or []}
    for task in tasks.values():
        if task.get("schedule"):
            schedule = task["schedule"]
            check(schedule["cron"], schedule.get("timezone") or "UTC", world.project.url)
    if current is not None and current.content_hash == digest and current.tasks == tasks:
        engine.version_arrived(world, env.id)
        return current
    worker = _new_version(world, env, metadata, next_version(world, env))
    _make_current(world, env, worker)
    return worker


def prepare(
    world: OfflineWorld, env: Environment, metadata: dict[str, Any], version: str
) -> WorkerVersion:
    """A deployment's version: until it is promoted, only runs that are locked to it start in it."""
    worker = _new_version(world, env, metadata, version, promoted=False)
    world.add(worker)
    world.store.put(worker)
    _declare_queues(world, worker)
    return worker


def promote(world: OfflineWorld, env: Environment, worker: WorkerVersion) -> None:
    """Runs that start from now on are of this version."""
    worker.promoted, worker.current_since = True, world.now()
    _make_current(world, env, worker)


def _make_current(world: OfflineWorld, env: Environment, worker: WorkerVersion) -> None:
    world.add(worker)
    world.current[env.id] = worker
    world.store.put(worker)
    _declare_queues(world, worker)
    _declare_limits(world, worker)
    _declare_schedules(world, env, worker)
    engine.version_arrived(world, env.id)


def _new_version(
    world: OfflineWorld,
    env: Environment,
    metadata: dict[str, Any],
    version: str,
    *,
    promoted: bool = True,
) -> WorkerVersion:
    return WorkerVersion(
        id=new_id("worker", world.now()),
        env=env.id,
        version=version,
        content_hash=str(metadata.get("contentHash", "")),
        created_at=world.now(),
        cli_version=metadata.get("cliPackageVersion"),
        package_version=metadata.get("packageVersion"),
        tasks={task["id"]: task for task in metadata.get("tasks") or []},
        queues=_queues(metadata),
        limits={limit["name"]: limit for limit in metadata.get("concurrencyLimits") or []},
        promoted=promoted,
    )


def next_version(world: OfflineWorld, env: Environment) -> str:
    """The number of the environment's next version of today."""
    day = f"{datetime.fromtimestamp(world.now() / 1000, UTC):%Y%m%d}"
    versions: list[WorkerVersion | Deployment] = [
        *world.workers.values(),
        *world.deployments.values(),
    ]
    numbers = [
        int(version.version.partition(".")[2])
        for version in versions
        if version.env == env.id and version.version.startswith(f"{day}.")
    ]
    return f"{day}.{max(numbers, default=0) + 1}"


def _queues(metadata: dict[str, Any]) -> dict[str, dict[str, Any]]:
    declared = {queue["name"]: queue for queue in metadata.get("queues") or []}
    for task in metadata.get("tasks") or []:
        queue = task.get("queue") or {}
        name = queue.get("name") or f"task/{task['id']}"
        declared.setdefault(name, {**queue, "name": name})
    return declared


def _declare_queues(world: OfflineWorld, worker: WorkerVersion) -> None:
    for name, declared in worker.queues.items():
        queue = world.queue(worker.env, name)
        queue.limit = declared.get("concurrencyLimit")
        queue.total = declared.get("combinedConcurrencyLimit")
        world.store.put(queue)


def _declare_limits(world: OfflineWorld, worker: WorkerVersion) -> None:
    shapes = dict(worker.limits)
    for task in worker.tasks.values():
        inline = (task.get("concurrency") or {}).get("inline")
        if inline:
            shapes[f"task/{task['id']}"] = inline
    for name, shape in shapes.items():
        limit = world.limits.get((worker.env, name))
        if limit is None:
            limit = ConcurrencyLimit(id=new_id("climit", world.now()), env=worker.env, name=name)
            world.add(limit)
        limit.per_key, limit.total = shape.get("perKey"), shape.get("total")
        world.store.put(limit)
    for (env, name), limit in list(world.limits.items()):
        if env == worker.env and name not in shapes:
            del world.limits[(env, name)]
            world.store.drop(limit)


def _declare_schedules(world: OfflineWorld, env: Environment, worker: WorkerVersion) -> None:
    declarations = {
        task["id"]: task["schedule"] for task in worker.tasks.values() if task.get("schedule")
    }
    existing = {
        schedule.task: schedule
        for schedule in world.schedules.values()
        if schedule.env == env.id and schedule.type == "DECLARATIVE"
    }
    for task, schedule in existing.items():
        if task not in declarations:
            del world.schedules[schedule.id]
            world.store.drop(schedule)
    for task, declared in declarations.items():
        kinds = declared.get("environments")
        if not kinds or env.type in kinds:
            _declare_schedule(world, env, task, declared, existing.get(task))


def _declare_schedule(
    world: OfflineWorld,
    env: Environment,
    task: str,
    declared: dict[str, Any],
    schedule: ScheduleRecord | None,
) -> None:
    if schedule is None:
        schedule = ScheduleRecord(
            id=new_id("sched", world.now()),
            project=env.project,
            env=env.id,
            type="DECLARATIVE",
            task=task,
            cron=declared["cron"],
            timezone=declared.get("timezone") or "UTC",
            created_at=world.now(),
            spread=scheduler.new_spread(),
        )
        world.add(schedule)
    schedule.cron = declared["cron"]
    schedule.timezone = declared.get("timezone") or "UTC"
    schedule.window = declared.get("window")
    scheduler.arm(world, schedule)
