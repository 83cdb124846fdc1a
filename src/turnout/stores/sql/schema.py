"""The run store's tables.

Simple columns for every database: text, 64-bit integers, bytes. Times are milliseconds since the
epoch; JSON is canonical and stored as bytes; a state is the word of its enum. Nothing is deleted
but waits that closed and places in a concurrency line. `migrations/` makes these tables; a test
holds both, and `migration_docs/tables.md`, together.
"""

from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Column,
    ForeignKey,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    text,
)

VERSION_TABLE: Final = "turnout_version"

metadata: Final = MetaData()

# SQLite gives out row ids only for a column of exactly this type.
_Whole = BigInteger().with_variant(Integer, "sqlite")


def _text(name: str, comment: str, **options: Any) -> Column[Any]:
    return Column(name, Text, nullable=options.pop("nullable", False), comment=comment, **options)


def _whole(name: str, comment: str, **options: Any) -> Column[Any]:
    return Column(name, _Whole, nullable=options.pop("nullable", False), comment=comment, **options)


def _json(name: str, comment: str, **options: Any) -> Column[Any]:
    nullable = options.pop("nullable", True)
    return Column(name, LargeBinary, nullable=nullable, comment=comment, **options)


def _of_run(**options: Any) -> Column[Any]:
    return Column(
        "run_id",
        Text,
        ForeignKey("turnout_runs.run_id"),
        nullable=False,
        comment="whose it is",
        **options,
    )


def _labels() -> tuple[Column[Any], ...]:
    return (
        _text("user_id", "for whom it is", nullable=True),
        _json("tags", "its tags, in order; null: none"),
        _json("metadata", "what else its caller says of it; null: nothing"),
    )


def _where(condition: str) -> dict[str, Any]:
    return {"sqlite_where": text(condition), "postgresql_where": text(condition)}


store: Final = Table(
    "turnout_store",
    metadata,
    _text("store_id", "names this store, so that a caller's connection is known to be on it"),
    _text("app", "the app that it belongs to; null: none has opened it yet", nullable=True),
    _text("environment", "the environment that the app first opened it in", nullable=True),
    _whole("epoch", "raised after it was restored from a backup", server_default=text("0")),
    _text(
        "oldest_code",
        "the oldest revision that code must know to work on these tables",
        server_default=text("'0003'"),
    ),
    comment="One row: which store this is.",
)

events: Final = Table(
    "turnout_events",
    metadata,
    _text("event_id", "ours", primary_key=True),
    _text("name", "what happened"),
    _json("payload", "the event's payload", nullable=False),
    _whole("emitted_at", "when"),
    _text("key", "the caller's key", nullable=True),
    _text("caused_by", "the run/step that emitted it", nullable=True),
    _whole("run_seq", "the emit_seq of the last run that was there before", nullable=True),
    _text("user_id", "for whom it is", nullable=True),
    Index("turnout_events_by_name", "name", "run_seq"),
    comment="Events, as they were emitted.",
    sqlite_with_rowid=False,
)

dead_letters: Final = Table(
    "turnout_dead_letters",
    metadata,
    _text("letter_id", "names the letter", primary_key=True),
    _text("name", "of the event that was refused"),
    _json("payload", "the event's payload", nullable=False),
    _text("key", "the caller's key", nullable=True),
    _whole("due_at", "when its runs may start", nullable=True),
    _text("error", "why it was refused"),
    _whole("refused_at", "when"),
    _text("event_id", "as which event it was emitted again", nullable=True),
    *_labels(),
    _text("dropped", "why it was dropped", nullable=True),
    Index("turnout_dead_letters_kept", "refused_at", **_where("event_id IS NULL")),
    comment="Events that were refused at a door.",
    sqlite_with_rowid=False,
)

runs: Final = Table(
    "turnout_runs",
    metadata,
    Column(
        "emit_seq",
        _Whole,
        Identity(),
        primary_key=True,
        comment="the order of emit, given here",
    ),
    _text("run_id", "ours; one safe path segment", unique=True),
    _text("task", "the task's id"),
    _text("provider", "who calls for it"),
    _json("payload", "what the task gets", nullable=False),
    _text("event", "the name of the event that started it"),
    _text("event_id", "that event"),
    _whole("emitted_at", "when it was emitted"),
    _whole("due_at", "when it may start"),
    _text("state", "RunStatus"),
    _whole("seq", "raised by every commit"),
    _whole("fence", "raised by cancel, deadlines and moves"),
    _whole("delivery", "the number of the live delivery"),
    _text("definition", "the digest of the app's definition"),
    _text("code_version", "the digest of the task's source"),
    _text("key", "the caller's key", nullable=True),
    _text("shadow", "the provider that is to run its shadow", nullable=True),
    _text("limit_key", "the concurrency key's value, as JSON", nullable=True),
    _whole("started_at", "when it started", nullable=True),
    _whole("ended_at", "when it ended", nullable=True),
    _whole("deadline_at", "when it times out", nullable=True),
    _whole("parked", "1 while it waits"),
    _whole("parked_until", "until when at most", nullable=True),
    _text("parked_for", "ParkReasons, with commas between"),
    _whole("release_at", "when its vendor run ends if it is parked", nullable=True),
    _text("parent_run_id", "the run that invoked it", nullable=True),
    _text("parent_step", "and the step", nullable=True),
    _json("result", "what the task returned"),
    _text("error_name", "the class of the error it failed with", nullable=True),
    _text("error_message", "and its message", nullable=True),
    _json("progress", "what the task last said of itself"),
    _json("streamed", "how many chunks each branch of the function has streamed"),
    _whole("chunks", "how many chunks are recorded", server_default=text("0")),
    _whole("passed", "how many of them earlier vendor runs passed on", server_default=text("0")),
    _whole("wake_at", "when a wake is owed to it", nullable=True),
    _whole("wake_sent", "how often that wake was sent"),
    _whole("projected_seq", "the seq that the artifacts show"),
    _whole("projection_at", "when the artifacts are due; null: up to date", nullable=True),
    *_labels(),
    _text("origin", "RunOrigin; null: event", nullable=True),
    _text("retry_of", "the run whose retry it is", nullable=True),
    _json("retries", "its retry policy; null: its task's"),
    Index("turnout_runs_by_task", "task", "emit_seq"),
    Index("turnout_runs_by_user", "user_id", "emit_seq", **_where("user_id IS NOT NULL")),
    Index("turnout_runs_by_retried", "retry_of", **_where("retry_of IS NOT NULL")),
    Index("turnout_runs_by_time", "emitted_at"),
    Index(
        "turnout_runs_without_result",
        "emit_seq",
        **_where("ended_at IS NOT NULL AND result IS NULL"),
    ),
    Index("turnout_runs_live", "emit_seq", **_where("ended_at IS NULL")),
    Index("turnout_runs_shadowed", "emit_seq", **_where("shadow IS NOT NULL")),
    Index("turnout_runs_by_parent", "parent_run_id", **_where("parent_run_id IS NOT NULL")),
    Index("turnout_runs_to_wake", "wake_at", **_where("wake_at IS NOT NULL")),
    Index(
        "turnout_runs_to_release",
        "release_at",
        **_where("parked = 1 AND release_at IS NOT NULL"),
    ),
    Index("turnout_runs_to_time_out", "deadline_at", **_where("deadline_at IS NOT NULL")),
    Index("turnout_runs_to_project", "projection_at", **_where("projection_at IS NOT NULL")),
    comment="Runs: one execution of a task each.",
    sqlite_autoincrement=True,
)

tags: Final = Table(
    "turnout_tags",
    metadata,
    _text("tag", "the tag", primary_key=True),
    _whole("emit_seq", "of the run that has it", primary_key=True),
    comment="Tags of runs, to find them by.",
    sqlite_with_rowid=False,
)

keys: Final = Table(
    "turnout_keys",
    metadata,
    _text("task", "the task's id", primary_key=True),
    _text("key", "the caller's key", primary_key=True),
    _text("run_id", "the first run"),
    _text("event_id", "the first event"),
    comment="Callers' keys: unique per task for ever.",
    sqlite_with_rowid=False,
)

transitions: Final = Table(
    "turnout_transitions",
    metadata,
    _of_run(primary_key=True),
    _whole("seq", "the run's seq of the commit", primary_key=True),
    _whole("place", "its place in the commit", primary_key=True),
    _text("state", "the RunStatus it came to"),
    _whole("at", "when"),
    _text("cause", "TransitionCause; null: not recorded", nullable=True),
    _text("actor", "who or what said so, where the cause leaves that open", nullable=True),
    comment="Changes of runs' states; append-only.",
    sqlite_with_rowid=False,
)

steps: Final = Table(
    "turnout_steps",
    metadata,
    _of_run(primary_key=True),
    _text("step", "the step's id", primary_key=True),
    _text("kind", "StepKind"),
    _text("position", "where in the function it was asked; sorts in order of asking"),
    _text("state", "StepState"),
    _whole("asked_at", "when it was first asked for"),
    _whole("ended_at", "when it settled", nullable=True),
    _whole("due_at", "when a sleep ends or a wait times out", nullable=True),
    _text("child", "the run that an invoke started", nullable=True),
    _json("output", "what it returned"),
    _text("error_name", "the class of the error it failed with", nullable=True),
    _text("error_message", "and its message", nullable=True),
    comment="Steps: what a task function asked for, and the committed outcome.",
    sqlite_with_rowid=False,
)

attempts: Final = Table(
    "turnout_attempts",
    metadata,
    _of_run(primary_key=True),
    _text("step", "the step's id", primary_key=True),
    _whole("number", "from 1", primary_key=True),
    _text("state", "AttemptState"),
    _whole("fence", "the run's when it was claimed"),
    _text("worker", "who runs it"),
    _whole("claimed_at", "when it was claimed"),
    _whole("lease_until", "when it counts as lost"),
    _whole("timeout_at", "when it times out", nullable=True),
    _whole("ended_at", "when it ended", nullable=True),
    _text("error_name", "the class of the error it failed with", nullable=True),
    _text("error_message", "and its message", nullable=True),
    _whole("retry_at", "when the next may be claimed", nullable=True),
    _whole("streamed", "how many of its chunks are recorded", server_default=text("0")),
    _whole("leased", "1 while it is claimed and its run lives"),
    Index("turnout_attempts_leased", "lease_until", **_where("leased = 1")),
    comment="Attempts: tries of steps.",
    sqlite_with_rowid=False,
)

chunks: Final = Table(
    "turnout_chunks",
    metadata,
    _of_run(primary_key=True),
    _whole("number", "its place in the run, from 0", primary_key=True),
    _text("name", "the stream's name"),
    _json("value", "what was streamed", nullable=False),
    _whole("at", "when it was recorded"),
    _text("step", "whose body streamed it; null: the function itself", nullable=True),
    _whole("attempt", "and in which attempt", nullable=True),
    comment="Chunks: what runs stream of themselves; append-only.",
    sqlite_with_rowid=False,
)

waits: Final = Table(
    "turnout_waits",
    metadata,
    _of_run(primary_key=True),
    _text("step", "the step that it meets; empty: it cancels the run", primary_key=True),
    _whole("place", "tells several waits of one step apart", primary_key=True),
    _text("event", "the event's name"),
    _text("path", "where the first value must stand; empty: anywhere will do"),
    _json("value", "the canonical JSON that must stand there", nullable=False),
    _json("more", "the other paths and values, as pairs", nullable=False),
    Index("turnout_waits_by_event", "event", "path", "value"),
    comment="Open waits for events.",
    sqlite_with_rowid=False,
)

met_events: Final = Table(
    "turnout_met",
    metadata,
    _of_run(primary_key=True),
    _text("event_id", "the event that met a wait of the run", primary_key=True),
    comment="Events that have met a wait of a run: they meet no wait of it that looks back.",
    sqlite_with_rowid=False,
)

deliveries: Final = Table(
    "turnout_deliveries",
    metadata,
    _of_run(primary_key=True),
    _whole("number", "from 1", primary_key=True),
    _text("provider", "to whom"),
    _text("task", "the task's id"),
    _text("state", "DeliveryState"),
    _whole("due_at", "when the pump acts next"),
    _text("provider_run_id", "the vendor's run", nullable=True),
    _text("token", "what the parked vendor run waits on", nullable=True),
    _whole("sent_at", "when it was sent", nullable=True),
    _whole("claimed_at", "when a vendor run first called", nullable=True),
    _whole("called_at", "when it last called", nullable=True),
    _whole("stopping", "1 while the vendor run must be stopped"),
    _whole("failures", "sendings that failed"),
    _text("error", "why the last sending failed", nullable=True),
    _whole("watched", "1 while the pump has something to do with it"),
    _text("reason", "DeliveryReason; null: first for number 1, else lost", nullable=True),
    _whole("epoch", "the store's when it was made or last pending", server_default=text("0")),
    _whole("listed_at", "when the provider's own list last had its vendor run", nullable=True),
    Index("turnout_deliveries_watched", "due_at", **_where("watched = 1")),
    Index(
        "turnout_deliveries_by_vendor_run",
        "provider",
        "provider_run_id",
        **_where("provider_run_id IS NOT NULL"),
    ),
    comment="Deliveries: the n-th handing over of a run to a provider.",
    sqlite_with_rowid=False,
)

line: Final = Table(
    "turnout_line",
    metadata,
    _of_run(primary_key=True),
    _text("step", "the step; empty: the run itself", primary_key=True),
    _text("task", "the task's id"),
    _text("limit_key", "the concurrency key's value, as JSON"),
    _whole("emit_seq", "the run's order of emit"),
    _whole("due_at", "when the run may start"),
    _text("state", "queued: not asked yet, waiting: asked in vain, held: has the slot"),
    Index("turnout_line_by_key", "task", "limit_key", "state", "emit_seq"),
    comment="Who holds a concurrency slot, and who stands in line for one.",
    sqlite_with_rowid=False,
)

schedules: Final = Table(
    "turnout_schedules",
    metadata,
    _text("schedule_id", "the schedule's id", primary_key=True),
    _text("task", "the task's id"),
    _text("cron", "five fields, or a name like @daily"),
    _text("zone", "IANA zone"),
    _json("payload", "what each run gets", nullable=False),
    _whole("paused", "1 while its slots start nothing"),
    _text("provider", "who owns it"),
    _whole("since", "since when it is like this"),
    _whole("last_slot", "the last slot that was claimed", nullable=True),
    _text(
        "catch_up",
        "what becomes of missed slots: skip, once or all",
        server_default=text("'all'"),
    ),
    comment="Schedules and their owners.",
    sqlite_with_rowid=False,
)

slots: Final = Table(
    "turnout_slots",
    metadata,
    _text("schedule_id", "the schedule's id", primary_key=True),
    _whole("slot", "the nominal time", primary_key=True),
    _text("run_id", "the run that it started"),
    _text("provider", "whose tick claimed it"),
    _whole("at", "when"),
    comment="Slots that were claimed: each once, for ever.",
    sqlite_with_rowid=False,
)

ticks: Final = Table(
    "turnout_ticks",
    metadata,
    _text("schedule_id", "the schedule's id", primary_key=True),
    _whole("slot", "the nominal time", primary_key=True),
    _text("provider", "whose tick", primary_key=True),
    _text("reason", "why it started nothing"),
    _whole("at", "when it first came"),
    comment="Ticks that started nothing, and why.",
    sqlite_with_rowid=False,
)

routes: Final = Table(
    "turnout_routes",
    metadata,
    _text("task", "the task's id", primary_key=True),
    _text("stage", "old, dual, ramp, new or drained"),
    _text("old", "from which provider"),
    _text("new", "to which"),
    _whole("percentage", "of new runs that go to the new one in stage ramp"),
    _whole("at", "when it was set"),
    _whole("generation", "the number of the change that set it", server_default=text("0")),
    _whole("stay", "1 while it is pinned", server_default=text("0")),
    comment="Where a task's new runs go.",
    sqlite_with_rowid=False,
)

route_history: Final = Table(
    "turnout_route_history",
    metadata,
    _whole("number", "from 1, over all tasks", primary_key=True, autoincrement=False),
    _text("task", "the task's id"),
    _text("action", "what was done"),
    _whole("at", "when"),
    _text("who", "the operator"),
    _text("reason", "why"),
    _text("ticket", "where it was agreed", nullable=True),
    _text("evidence", "the digest of the verdict", nullable=True),
    _json("detail", "routes, override, times", nullable=False),
    comment="What operators did with routes; append-only.",
)

flags: Final = Table(
    "turnout_flags",
    metadata,
    _whole("generation", "from 1; raised by every other value", primary_key=True),
    _text("value", "ORCHESTRATOR_PROVIDER, as it is"),
    _whole("at", "when a replica first started with it"),
    comment="The values of the flag, in order; append-only.",
    sqlite_with_rowid=False,
)

replicas: Final = Table(
    "turnout_replicas",
    metadata,
    _text("replica_id", "names a process", primary_key=True),
    _text("provider", "what it runs with"),
    _text("definition", "the digest of its app's definition"),
    _text("version", "of Turnout"),
    _whole("seen_at", "when it last said so"),
    _json("links", "its own connections to vendors, by provider"),
    _whole(
        "clock_ahead",
        "by how many ms its machine's clock is ahead of the run store's",
        nullable=True,
    ),
    _json("tasks", "the digest of each task, by id"),
    _whole("routes", "the newest change that it has read", nullable=True),
    _whole("routes_read_at", "when it read the routes last", nullable=True),
    comment="The processes of the service.",
    sqlite_with_rowid=False,
)

leaders: Final = Table(
    "turnout_leaders",
    metadata,
    _text("job", "what is led", primary_key=True),
    _text("holder", "the replica that leads"),
    _whole("fence", "raised by every take-over"),
    _whole("until", "when the lease runs out, by the database's clock"),
    comment="Leaders: one replica a job, until its lease runs out.",
    sqlite_with_rowid=False,
)

sweeps: Final = Table(
    "turnout_sweeps",
    metadata,
    _text("provider", "whose list", primary_key=True),
    _text("kind", "open: runs that have not ended; created: runs since the mark", primary_key=True),
    _whole("mark", "the sweep that was finished last began then", nullable=True),
    _whole("started_at", "when the one that goes on began; null: none", nullable=True),
    _text("cursor", "its next page; empty: the first"),
    _json("counts", "what it has counted, or the last one had", nullable=False),
    _text("error", "why it stopped", nullable=True),
    comment="Sweeps over the providers' own lists of runs.",
    sqlite_with_rowid=False,
)

findings: Final = Table(
    "turnout_findings",
    metadata,
    _text("provider", "at whom", primary_key=True),
    _text("kind", "FindingKind", primary_key=True),
    _text("subject", "the delivery's key, or the vendor run's id", primary_key=True),
    _text("run_id", "the run; null where it is not known", nullable=True),
    _text("provider_run_id", "the vendor's run", nullable=True),
    _text("resolution", "what was done: Resolution"),
    _json("evidence", "what was seen", nullable=False),
    _whole("found_at", "when it was first found"),
    _whole("seen_at", "when it was last found or resolved"),
    Index("turnout_findings_by_time", "found_at"),
    comment="Findings: where the providers' lists and the run store differed.",
    sqlite_with_rowid=False,
)
