"""The tables of the first release."""

from uuid import uuid4

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_WHOLE = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


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
        sa.Column("event_id", sa.Text(), nullable=False, comment="ours"),
        sa.Column("name", sa.Text(), nullable=False, comment="what happened"),
        sa.Column("payload", sa.LargeBinary(), nullable=False, comment="the event's payload"),
        sa.Column("emitted_at", _WHOLE, nullable=False, comment="when"),
        sa.Column("key", sa.Text(), nullable=True, comment="the caller's key"),
        sa.Column("caused_by", sa.Text(), nullable=True, comment="the run/step that emitted it"),
        sa.PrimaryKeyConstraint("event_id"),
        comment="Events, as they were emitted.",
        sqlite_with_rowid=False,
    )


def _keys() -> None:
    op.create_table(
        "turnout_keys",
        sa.Column("task", sa.Text(), nullable=False, comment="the task's id"),
        sa.Column("key", sa.Text(), nullable=False, comment="the caller's key"),
        sa.Column("run_id", sa.Text(), nullable=False, comment="the first run"),
        sa.Column("event_id", sa.Text(), nullable=False, comment="the first event"),
        sa.PrimaryKeyConstraint("task", "key"),
        comment="Callers' keys: unique per task for ever.",
        sqlite_with_rowid=False,
    )


def _replicas() -> None:
    op.create_table(
        "turnout_replicas",
        sa.Column("replica_id", sa.Text(), nullable=False, comment="names a process"),
        sa.Column("provider", sa.Text(), nullable=False, comment="what it runs with"),
        sa.Column(
            "definition", sa.Text(), nullable=False, comment="the digest of its app's definition"
        ),
        sa.Column("version", sa.Text(), nullable=False, comment="of Turnout"),
        sa.Column("seen_at", _WHOLE, nullable=False, comment="when it last said so"),
        sa.PrimaryKeyConstraint("replica_id"),
        comment="The processes of the service.",
        sqlite_with_rowid=False,
    )


def _routes() -> None:
    op.create_table(
        "turnout_routes",
        sa.Column("task", sa.Text(), nullable=False, comment="the task's id"),
        sa.Column("stage", sa.Text(), nullable=False, comment="old, dual, ramp, new or drained"),
        sa.Column("old", sa.Text(), nullable=False, comment="from which provider"),
        sa.Column("new", sa.Text(), nullable=False, comment="to which"),
        sa.Column(
            "percentage",
            _WHOLE,
            nullable=False,
            comment="of new runs that go to the new one in stage ramp",
        ),
        sa.Column("at", _WHOLE, nullable=False, comment="when it was set"),
        sa.PrimaryKeyConstraint("task"),
        comment="Where a task's new runs go.",
        sqlite_with_rowid=False,
    )


def _runs() -> None:
    op.create_table(
        "turnout_runs",
        sa.Column(
            "emit_seq",
            _WHOLE,
            sa.Identity(always=False),
            nullable=False,
            comment="the order of emit, given here",
        ),
        sa.Column("run_id", sa.Text(), nullable=False, comment="ours; one safe path segment"),
        sa.Column("task", sa.Text(), nullable=False, comment="the task's id"),
        sa.Column("provider", sa.Text(), nullable=False, comment="who calls for it"),
        sa.Column("payload", sa.LargeBinary(), nullable=False, comment="what the task gets"),
        sa.Column(
            "event", sa.Text(), nullable=False, comment="the name of the event that started it"
        ),
        sa.Column("event_id", sa.Text(), nullable=False, comment="that event"),
        sa.Column("emitted_at", _WHOLE, nullable=False, comment="when it was emitted"),
        sa.Column("due_at", _WHOLE, nullable=False, comment="when it may start"),
        sa.Column("state", sa.Text(), nullable=False, comment="RunStatus"),
        sa.Column("seq", _WHOLE, nullable=False, comment="raised by every commit"),
        sa.Column("fence", _WHOLE, nullable=False, comment="raised by cancel, deadlines and moves"),
        sa.Column("delivery", _WHOLE, nullable=False, comment="the number of the live delivery"),
        sa.Column(
            "definition", sa.Text(), nullable=False, comment="the digest of the app's definition"
        ),
        sa.Column(
            "code_version", sa.Text(), nullable=False, comment="the digest of the task's source"
        ),
        sa.Column("key", sa.Text(), nullable=True, comment="the caller's key"),
        sa.Column(
            "shadow", sa.Text(), nullable=True, comment="the provider that is to run its shadow"
        ),
        sa.Column(
            "limit_key", sa.Text(), nullable=True, comment="the concurrency key's value, as JSON"
        ),
        sa.Column("started_at", _WHOLE, nullable=True, comment="when it started"),
        sa.Column("ended_at", _WHOLE, nullable=True, comment="when it ended"),
        sa.Column("deadline_at", _WHOLE, nullable=True, comment="when it times out"),
        sa.Column("parked", _WHOLE, nullable=False, comment="1 while it waits"),
        sa.Column("parked_until", _WHOLE, nullable=True, comment="until when at most"),
        sa.Column(
            "parked_for", sa.Text(), nullable=False, comment="ParkReasons, with commas between"
        ),
        sa.Column("parent_run_id", sa.Text(), nullable=True, comment="the run that invoked it"),
        sa.Column("parent_step", sa.Text(), nullable=True, comment="and the step"),
        sa.Column("result", sa.LargeBinary(), nullable=True, comment="what the task returned"),
        sa.Column(
            "error_name", sa.Text(), nullable=True, comment="the class of the error it failed with"
        ),
        sa.Column("error_message", sa.Text(), nullable=True, comment="and its message"),
        sa.Column(
            "progress", sa.LargeBinary(), nullable=True, comment="what the task last said of itself"
        ),
        sa.Column("wake_at", _WHOLE, nullable=True, comment="when a wake is owed to it"),
        sa.Column("wake_sent", _WHOLE, nullable=False, comment="how often that wake was sent"),
        sa.Column(
            "projected_seq", _WHOLE, nullable=False, comment="the seq that the artifacts show"
        ),
        sa.Column(
            "projection_at",
            _WHOLE,
            nullable=True,
            comment="when the artifacts are due; null: up to date",
        ),
        sa.PrimaryKeyConstraint("emit_seq"),
        sa.UniqueConstraint("run_id"),
        comment="Runs: one execution of a task each.",
        sqlite_autoincrement=True,
    )
    op.create_index(
        "turnout_runs_by_parent",
        "turnout_runs",
        ["parent_run_id"],
        unique=False,
        sqlite_where=sa.text("parent_run_id IS NOT NULL"),
        postgresql_where=sa.text("parent_run_id IS NOT NULL"),
    )
    op.create_index("turnout_runs_by_task", "turnout_runs", ["task", "emit_seq"], unique=False)
    op.create_index(
        "turnout_runs_live",
        "turnout_runs",
        ["emit_seq"],
        unique=False,
        sqlite_where=sa.text("ended_at IS NULL"),
        postgresql_where=sa.text("ended_at IS NULL"),
    )
    op.create_index(
        "turnout_runs_shadowed",
        "turnout_runs",
        ["emit_seq"],
        unique=False,
        sqlite_where=sa.text("shadow IS NOT NULL"),
        postgresql_where=sa.text("shadow IS NOT NULL"),
    )
    op.create_index(
        "turnout_runs_to_project",
        "turnout_runs",
        ["projection_at"],
        unique=False,
        sqlite_where=sa.text("projection_at IS NOT NULL"),
        postgresql_where=sa.text("projection_at IS NOT NULL"),
    )
    op.create_index(
        "turnout_runs_to_time_out",
        "turnout_runs",
        ["deadline_at"],
        unique=False,
        sqlite_where=sa.text("deadline_at IS NOT NULL"),
        postgresql_where=sa.text("deadline_at IS NOT NULL"),
    )
    op.create_index(
        "turnout_runs_to_wake",
        "turnout_runs",
        ["wake_at"],
        unique=False,
        sqlite_where=sa.text("wake_at IS NOT NULL"),
        postgresql_where=sa.text("wake_at IS NOT NULL"),
    )


def _schedules() -> None:
    op.create_table(
        "turnout_schedules",
        sa.Column("schedule_id", sa.Text(), nullable=False, comment="the schedule's id"),
        sa.Column("task", sa.Text(), nullable=False, comment="the task's id"),
        sa.Column("cron", sa.Text(), nullable=False, comment="five fields, or a name like @daily"),
        sa.Column("zone", sa.Text(), nullable=False, comment="IANA zone"),
        sa.Column("payload", sa.LargeBinary(), nullable=False, comment="what each run gets"),
        sa.Column("paused", _WHOLE, nullable=False, comment="1 while its slots start nothing"),
        sa.Column("provider", sa.Text(), nullable=False, comment="who owns it"),
        sa.Column("since", _WHOLE, nullable=False, comment="since when it is like this"),
        sa.Column("last_slot", _WHOLE, nullable=True, comment="the last slot that was claimed"),
        sa.PrimaryKeyConstraint("schedule_id"),
        comment="Schedules and their owners.",
        sqlite_with_rowid=False,
    )


def _slots() -> None:
    op.create_table(
        "turnout_slots",
        sa.Column("schedule_id", sa.Text(), nullable=False, comment="the schedule's id"),
        sa.Column("slot", _WHOLE, nullable=False, comment="the nominal time"),
        sa.Column("run_id", sa.Text(), nullable=False, comment="the run that it started"),
        sa.Column("provider", sa.Text(), nullable=False, comment="whose tick claimed it"),
        sa.Column("at", _WHOLE, nullable=False, comment="when"),
        sa.PrimaryKeyConstraint("schedule_id", "slot"),
        comment="Slots that were claimed: each once, for ever.",
        sqlite_with_rowid=False,
    )


def _store() -> None:
    made = op.create_table(
        "turnout_store",
        sa.Column(
            "store_id",
            sa.Text(),
            nullable=False,
            comment="names this store, so that a caller's connection is known to be on it",
        ),
        comment="One row: which store this is.",
    )
    op.bulk_insert(made, [{"store_id": uuid4().hex}])


def _ticks() -> None:
    op.create_table(
        "turnout_ticks",
        sa.Column("schedule_id", sa.Text(), nullable=False, comment="the schedule's id"),
        sa.Column("slot", _WHOLE, nullable=False, comment="the nominal time"),
        sa.Column("provider", sa.Text(), nullable=False, comment="whose tick"),
        sa.Column("reason", sa.Text(), nullable=False, comment="why it started nothing"),
        sa.Column("at", _WHOLE, nullable=False, comment="when it first came"),
        sa.PrimaryKeyConstraint("schedule_id", "slot", "provider"),
        comment="Ticks that started nothing, and why.",
        sqlite_with_rowid=False,
    )


def _attempts() -> None:
    op.create_table(
        "turnout_attempts",
        sa.Column("run_id", sa.Text(), nullable=False, comment="whose it is"),
        sa.Column("step", sa.Text(), nullable=False, comment="the step's id"),
        sa.Column("number", _WHOLE, nullable=False, comment="from 1"),
        sa.Column("state", sa.Text(), nullable=False, comment="AttemptState"),
        sa.Column("fence", _WHOLE, nullable=False, comment="the run's when it was claimed"),
        sa.Column("worker", sa.Text(), nullable=False, comment="who runs it"),
        sa.Column("claimed_at", _WHOLE, nullable=False, comment="when it was claimed"),
        sa.Column("lease_until", _WHOLE, nullable=False, comment="when it counts as lost"),
        sa.Column("timeout_at", _WHOLE, nullable=True, comment="when it times out"),
        sa.Column("ended_at", _WHOLE, nullable=True, comment="when it ended"),
        sa.Column(
            "error_name", sa.Text(), nullable=True, comment="the class of the error it failed with"
        ),
        sa.Column("error_message", sa.Text(), nullable=True, comment="and its message"),
        sa.Column("retry_at", _WHOLE, nullable=True, comment="when the next may be claimed"),
        sa.Column(
            "leased", _WHOLE, nullable=False, comment="1 while it is claimed and its run lives"
        ),
        sa.ForeignKeyConstraint(
            ["run_id"],
            ["turnout_runs.run_id"],
        ),
        sa.PrimaryKeyConstraint("run_id", "step", "number"),
        comment="Attempts: tries of steps.",
        sqlite_with_rowid=False,
    )
    op.create_index(
        "turnout_attempts_leased",
        "turnout_attempts",
        ["lease_until"],
        unique=False,
        sqlite_where=sa.text("leased = 1"),
        postgresql_where=sa.text("leased = 1"),
    )


def _deliveries() -> None:
    op.create_table(
        "turnout_deliveries",
        sa.Column("run_id", sa.Text(), nullable=False, comment="whose it is"),
        sa.Column("number", _WHOLE, nullable=False, comment="from 1"),
        sa.Column("provider", sa.Text(), nullable=False, comment="to whom"),
        sa.Column("task", sa.Text(), nullable=False, comment="the task's id"),
        sa.Column("state", sa.Text(), nullable=False, comment="DeliveryState"),
        sa.Column("due_at", _WHOLE, nullable=False, comment="when the pump acts next"),
        sa.Column("provider_run_id", sa.Text(), nullable=True, comment="the vendor's run"),
        sa.Column("token", sa.Text(), nullable=True, comment="what the parked vendor run waits on"),
        sa.Column("sent_at", _WHOLE, nullable=True, comment="when it was sent"),
        sa.Column("claimed_at", _WHOLE, nullable=True, comment="when a vendor run first called"),
        sa.Column("called_at", _WHOLE, nullable=True, comment="when it last called"),
        sa.Column(
            "stopping", _WHOLE, nullable=False, comment="1 while the vendor run must be stopped"
        ),
        sa.Column("failures", _WHOLE, nullable=False, comment="sendings that failed"),
        sa.Column("error", sa.Text(), nullable=True, comment="why the last sending failed"),
        sa.Column(
            "watched",
            _WHOLE,
            nullable=False,
            comment="1 while the pump has something to do with it",
        ),
        sa.ForeignKeyConstraint(
            ["run_id"],
            ["turnout_runs.run_id"],
        ),
        sa.PrimaryKeyConstraint("run_id", "number"),
        comment="Deliveries: the n-th handing over of a run to a provider.",
        sqlite_with_rowid=False,
    )
    op.create_index(
        "turnout_deliveries_watched",
        "turnout_deliveries",
        ["due_at"],
        unique=False,
        sqlite_where=sa.text("watched = 1"),
        postgresql_where=sa.text("watched = 1"),
    )


def _line() -> None:
    op.create_table(
        "turnout_line",
        sa.Column("run_id", sa.Text(), nullable=False, comment="whose it is"),
        sa.Column("step", sa.Text(), nullable=False, comment="the step; empty: the run itself"),
        sa.Column("task", sa.Text(), nullable=False, comment="the task's id"),
        sa.Column(
            "limit_key", sa.Text(), nullable=False, comment="the concurrency key's value, as JSON"
        ),
        sa.Column("emit_seq", _WHOLE, nullable=False, comment="the run's order of emit"),
        sa.Column("due_at", _WHOLE, nullable=False, comment="when the run may start"),
        sa.Column(
            "state",
            sa.Text(),
            nullable=False,
            comment="queued: not asked yet, waiting: asked in vain, held: has the slot",
        ),
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
        sa.Column("run_id", sa.Text(), nullable=False, comment="whose it is"),
        sa.Column("step", sa.Text(), nullable=False, comment="the step's id"),
        sa.Column("kind", sa.Text(), nullable=False, comment="StepKind"),
        sa.Column(
            "position",
            sa.Text(),
            nullable=False,
            comment="where in the function it was asked; sorts in order of asking",
        ),
        sa.Column("state", sa.Text(), nullable=False, comment="StepState"),
        sa.Column("asked_at", _WHOLE, nullable=False, comment="when it was first asked for"),
        sa.Column("ended_at", _WHOLE, nullable=True, comment="when it settled"),
        sa.Column("due_at", _WHOLE, nullable=True, comment="when a sleep ends or a wait times out"),
        sa.Column("child", sa.Text(), nullable=True, comment="the run that an invoke started"),
        sa.Column("output", sa.LargeBinary(), nullable=True, comment="what it returned"),
        sa.Column(
            "error_name", sa.Text(), nullable=True, comment="the class of the error it failed with"
        ),
        sa.Column("error_message", sa.Text(), nullable=True, comment="and its message"),
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
        sa.Column("run_id", sa.Text(), nullable=False, comment="whose it is"),
        sa.Column("seq", _WHOLE, nullable=False, comment="the run's seq of the commit"),
        sa.Column("place", _WHOLE, nullable=False, comment="its place in the commit"),
        sa.Column("state", sa.Text(), nullable=False, comment="the RunStatus it came to"),
        sa.Column("at", _WHOLE, nullable=False, comment="when"),
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
        sa.Column("run_id", sa.Text(), nullable=False, comment="whose it is"),
        sa.Column(
            "step",
            sa.Text(),
            nullable=False,
            comment="the step that it meets; empty: it cancels the run",
        ),
        sa.Column("place", _WHOLE, nullable=False, comment="tells several waits of one step apart"),
        sa.Column("event", sa.Text(), nullable=False, comment="the event's name"),
        sa.Column(
            "path",
            sa.Text(),
            nullable=False,
            comment="where the first value must stand; empty: anywhere will do",
        ),
        sa.Column(
            "value",
            sa.LargeBinary(),
            nullable=False,
            comment="the canonical JSON that must stand there",
        ),
        sa.Column(
            "more", sa.LargeBinary(), nullable=False, comment="the other paths and values, as pairs"
        ),
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
