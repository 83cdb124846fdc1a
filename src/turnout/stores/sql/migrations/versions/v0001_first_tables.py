"""The tables of the first release."""

from uuid import uuid4

import sqlalchemy as sa
from alembic import op

from turnout.stores.sql.migrations.columns import WHOLE, add_index, json, text, whole

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make them."""
    _events()
    _keys()
    _replicas()
    _routes()
    _runs()
    _schedules()
    _slots()
    _store()
    _ticks()
    _attempts()
    _deliveries()
    _line()
    _steps()
    _transitions()
    _waits()


def _events() -> None:
    op.create_table(
        "turnout_events",
        text("event_id", "ours"),
        text("name", "what happened"),
        json("payload", "the event's payload"),
        whole("emitted_at", "when"),
        text("key", "the caller's key", nullable=True),
        text("caused_by", "the run/step that emitted it", nullable=True),
        sa.PrimaryKeyConstraint("event_id"),
        comment="Events, as they were emitted.",
        sqlite_with_rowid=False,
    )


def _keys() -> None:
    op.create_table(
        "turnout_keys",
        text("task", "the task's id"),
        text("key", "the caller's key"),
        text("run_id", "the first run"),
        text("event_id", "the first event"),
        sa.PrimaryKeyConstraint("task", "key"),
        comment="Callers' keys: unique per task for ever.",
        sqlite_with_rowid=False,
    )


def _replicas() -> None:
    op.create_table(
        "turnout_replicas",
        text("replica_id", "names a process"),
        text("provider", "what it runs with"),
        text("definition", "the digest of its app's definition"),
        text("version", "of Turnout"),
        whole("seen_at", "when it last said so"),
        sa.PrimaryKeyConstraint("replica_id"),
        comment="The processes of the service.",
        sqlite_with_rowid=False,
    )


def _routes() -> None:
    op.create_table(
        "turnout_routes",
        text("task", "the task's id"),
        text("stage", "old, dual, ramp, new or drained"),
        text("old", "from which provider"),
        text("new", "to which"),
        whole("percentage", "of new runs that go to the new one in stage ramp"),
        whole("at", "when it was set"),
        sa.PrimaryKeyConstraint("task"),
        comment="Where a task's new runs go.",
        sqlite_with_rowid=False,
    )


def _runs() -> None:
    op.create_table(
        "turnout_runs",
        sa.Column(
            "emit_seq",
            WHOLE,
            sa.Identity(always=False),
            nullable=False,
            comment="the order of emit, given here",
        ),
        text("run_id", "ours; one safe path segment"),
        text("task", "the task's id"),
        text("provider", "who calls for it"),
        json("payload", "what the task gets"),
        text("event", "the name of the event that started it"),
        text("event_id", "that event"),
        whole("emitted_at", "when it was emitted"),
        whole("due_at", "when it may start"),
        text("state", "RunStatus"),
        whole("seq", "raised by every commit"),
        whole("fence", "raised by cancel, deadlines and moves"),
        whole("delivery", "the number of the live delivery"),
        text("definition", "the digest of the app's definition"),
        text("code_version", "the digest of the task's source"),
        text("key", "the caller's key", nullable=True),
        text("shadow", "the provider that is to run its shadow", nullable=True),
        text("limit_key", "the concurrency key's value, as JSON", nullable=True),
        whole("started_at", "when it started", nullable=True),
        whole("ended_at", "when it ended", nullable=True),
        whole("deadline_at", "when it times out", nullable=True),
        whole("parked", "1 while it waits"),
        whole("parked_until", "until when at most", nullable=True),
        text("parked_for", "ParkReasons, with commas between"),
        text("parent_run_id", "the run that invoked it", nullable=True),
        text("parent_step", "and the step", nullable=True),
        json("result", "what the task returned", nullable=True),
        text("error_name", "the class of the error it failed with", nullable=True),
        text("error_message", "and its message", nullable=True),
        json("progress", "what the task last said of itself", nullable=True),
        whole("wake_at", "when a wake is owed to it", nullable=True),
        whole("wake_sent", "how often that wake was sent"),
        whole("projected_seq", "the seq that the artifacts show"),
        whole("projection_at", "when the artifacts are due; null: up to date", nullable=True),
        sa.PrimaryKeyConstraint("emit_seq"),
        sa.UniqueConstraint("run_id"),
        comment="Runs: one execution of a task each.",
        sqlite_autoincrement=True,
    )
    add_index(
        "turnout_runs_by_parent", "turnout_runs", ["parent_run_id"], "parent_run_id IS NOT NULL"
    )
    op.create_index("turnout_runs_by_task", "turnout_runs", ["task", "emit_seq"], unique=False)
    add_index("turnout_runs_live", "turnout_runs", ["emit_seq"], "ended_at IS NULL")
    add_index("turnout_runs_shadowed", "turnout_runs", ["emit_seq"], "shadow IS NOT NULL")
    add_index(
        "turnout_runs_to_project", "turnout_runs", ["projection_at"], "projection_at IS NOT NULL"
    )
    add_index(
        "turnout_runs_to_time_out", "turnout_runs", ["deadline_at"], "deadline_at IS NOT NULL"
    )
    add_index("turnout_runs_to_wake", "turnout_runs", ["wake_at"], "wake_at IS NOT NULL")


def _schedules() -> None:
    op.create_table(
        "turnout_schedules",
        text("schedule_id", "the schedule's id"),
        text("task", "the task's id"),
        text("cron", "five fields, or a name like @daily"),
        text("zone", "IANA zone"),
        json("payload", "what each run gets"),
        whole("paused", "1 while its slots start nothing"),
        text("provider", "who owns it"),
        whole("since", "since when it is like this"),
        whole("last_slot", "the last slot that was claimed", nullable=True),
        sa.PrimaryKeyConstraint("schedule_id"),
        comment="Schedules and their owners.",
        sqlite_with_rowid=False,
    )


def _slots() -> None:
    op.create_table(
        "turnout_slots",
        text("schedule_id", "the schedule's id"),
        whole("slot", "the nominal time"),
        text("run_id", "the run that it started"),
        text("provider", "whose tick claimed it"),
        whole("at", "when"),
        sa.PrimaryKeyConstraint("schedule_id", "slot"),
        comment="Slots that were claimed: each once, for ever.",
        sqlite_with_rowid=False,
    )


def _store() -> None:
    made = op.create_table(
        "turnout_store",
        text("store_id", "names this store, so that a caller's connection is known to be on it"),
        comment="One row: which store this is.",
    )
    op.bulk_insert(made, [{"store_id": uuid4().hex}])


def _ticks() -> None:
    op.create_table(
        "turnout_ticks",
        text("schedule_id", "the schedule's id"),
        whole("slot", "the nominal time"),
        text("provider", "whose tick"),
        text("reason", "why it started nothing"),
        whole("at", "when it first came"),
        sa.PrimaryKeyConstraint("schedule_id", "slot", "provider"),
        comment="Ticks that started nothing, and why.",
        sqlite_with_rowid=False,
    )


def _attempts() -> None:
    op.create_table(
        "turnout_attempts",
        text("run_id", "whose it is"),
        text("step", "the step's id"),
        whole("number", "from 1"),
        text("state", "AttemptState"),
        whole("fence", "the run's when it was claimed"),
        text("worker", "who runs it"),
        whole("claimed_at", "when it was claimed"),
        whole("lease_until", "when it counts as lost"),
        whole("timeout_at", "when it times out", nullable=True),
        whole("ended_at", "when it ended", nullable=True),
        text("error_name", "the class of the error it failed with", nullable=True),
        text("error_message", "and its message", nullable=True),
        whole("retry_at", "when the next may be claimed", nullable=True),
        whole("leased", "1 while it is claimed and its run lives"),
        sa.ForeignKeyConstraint(
            ["run_id"],
            ["turnout_runs.run_id"],
        ),
        sa.PrimaryKeyConstraint("run_id", "step", "number"),
        comment="Attempts: tries of steps.",
        sqlite_with_rowid=False,
    )
    add_index("turnout_attempts_leased", "turnout_attempts", ["lease_until"], "leased = 1")


def _deliveries() -> None:
    op.create_table(
        "turnout_deliveries",
        text("run_id", "whose it is"),
        whole("number", "from 1"),
        text("provider", "to whom"),
        text("task", "the task's id"),
        text("state", "DeliveryState"),
        whole("due_at", "when the pump acts next"),
        text("provider_run_id", "the vendor's run", nullable=True),
        text("token", "what the parked vendor run waits on", nullable=True),
        whole("sent_at", "when it was sent", nullable=True),
        whole("claimed_at", "when a vendor run first called", nullable=True),
        whole("called_at", "when it last called", nullable=True),
        whole("stopping", "1 while the vendor run must be stopped"),
        whole("failures", "sendings that failed"),
        text("error", "why the last sending failed", nullable=True),
        whole("watched", "1 while the pump has something to do with it"),
        sa.ForeignKeyConstraint(
            ["run_id"],
            ["turnout_runs.run_id"],
        ),
        sa.PrimaryKeyConstraint("run_id", "number"),
        comment="Deliveries: the n-th handing over of a run to a provider.",
        sqlite_with_rowid=False,
    )
    add_index("turnout_deliveries_watched", "turnout_deliveries", ["due_at"], "watched = 1")


def _line() -> None:
    op.create_table(
        "turnout_line",
        text("run_id", "whose it is"),
        text("step", "the step; empty: the run itself"),
        text("task", "the task's id"),
        text("limit_key", "the concurrency key's value, as JSON"),
        whole("emit_seq", "the run's order of emit"),
        whole("due_at", "when the run may start"),
        text("state", "queued: not asked yet, waiting: asked in vain, held: has the slot"),
        sa.ForeignKeyConstraint(
            ["run_id"],
            ["turnout_runs.run_id"],
        ),
        sa.PrimaryKeyConstraint("run_id", "step"),
        comment="Who holds a concurrency slot, and who stands in line for one.",
        sqlite_with_rowid=False,
    )
    op.create_index(
        "turnout_line_by_key",
        "turnout_line",
        ["task", "limit_key", "state", "emit_seq"],
        unique=False,
    )


def _steps() -> None:
    op.create_table(
        "turnout_steps",
        text("run_id", "whose it is"),
        text("step", "the step's id"),
        text("kind", "StepKind"),
        text("position", "where in the function it was asked; sorts in order of asking"),
        text("state", "StepState"),
        whole("asked_at", "when it was first asked for"),
        whole("ended_at", "when it settled", nullable=True),
        whole("due_at", "when a sleep ends or a wait times out", nullable=True),
        text("child", "the run that an invoke started", nullable=True),
        json("output", "what it returned", nullable=True),
        text("error_name", "the class of the error it failed with", nullable=True),
        text("error_message", "and its message", nullable=True),
        sa.ForeignKeyConstraint(
            ["run_id"],
            ["turnout_runs.run_id"],
        ),
        sa.PrimaryKeyConstraint("run_id", "step"),
        comment="Steps: what a task function asked for, and the committed outcome.",
        sqlite_with_rowid=False,
    )


def _transitions() -> None:
    op.create_table(
        "turnout_transitions",
        text("run_id", "whose it is"),
        whole("seq", "the run's seq of the commit"),
        whole("place", "its place in the commit"),
        text("state", "the RunStatus it came to"),
        whole("at", "when"),
        sa.ForeignKeyConstraint(
            ["run_id"],
            ["turnout_runs.run_id"],
        ),
        sa.PrimaryKeyConstraint("run_id", "seq", "place"),
        comment="Changes of runs' states; append-only.",
        sqlite_with_rowid=False,
    )


def _waits() -> None:
    op.create_table(
        "turnout_waits",
        text("run_id", "whose it is"),
        text("step", "the step that it meets; empty: it cancels the run"),
        whole("place", "tells several waits of one step apart"),
        text("event", "the event's name"),
        text("path", "where the first value must stand; empty: anywhere will do"),
        json("value", "the canonical JSON that must stand there"),
        json("more", "the other paths and values, as pairs"),
        sa.ForeignKeyConstraint(
            ["run_id"],
            ["turnout_runs.run_id"],
        ),
        sa.PrimaryKeyConstraint("run_id", "step", "place"),
        comment="Open waits for events.",
        sqlite_with_rowid=False,
    )
    op.create_index(
        "turnout_waits_by_event", "turnout_waits", ["event", "path", "value"], unique=False
    )
