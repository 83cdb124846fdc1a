"""When runs are released, what becomes of missed slots, what the flag was, which events met waits.

The release before goes on working on these tables: its runs are not released, and a run that is
released it delivers again as one that was lost. Columns that are there are left alone, so that
whoever goes back to that release, by setting the version number back, can come here again.
"""

import sqlalchemy as sa
from alembic import op

from turnout.stores.sql.migrations.columns import add_missing, count, json, text, whole

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_BY_NAME = "turnout_events_by_name"
_TO_RELEASE = "turnout_runs_to_release"


def upgrade() -> None:
    """Add the columns, the tables and the indexes; each section stands for itself."""
    _released_runs()
    _schedules()
    _flags()
    _clocks()
    _met_events()
    _task_definitions()
    _dead_letters()


def _released_runs() -> None:
    add_missing(
        "turnout_runs",
        whole("release_at", "when its vendor run ends if it is parked", nullable=True),
        count("passed", "how many of them earlier vendor runs passed on"),
    )
    condition = sa.text("parked = 1 AND release_at IS NOT NULL")
    op.create_index(
        _TO_RELEASE,
        "turnout_runs",
        ["release_at"],
        if_not_exists=True,
        sqlite_where=condition,
        postgresql_where=condition,
    )


def _schedules() -> None:
    add_missing(
        "turnout_schedules",
        sa.Column(
            "catch_up",
            sa.Text(),
            server_default=sa.text("'all'"),
            nullable=False,
            comment="what becomes of missed slots: skip, once or all",
        ),
    )


def _flags() -> None:
    op.create_table(
        "turnout_flags",
        whole("generation", "from 1; raised by every other value"),
        text("value", "ORCHESTRATOR_PROVIDER, as it is"),
        whole("at", "when a replica first started with it"),
        sa.PrimaryKeyConstraint("generation"),
        comment="The values of the flag, in order; append-only.",
        if_not_exists=True,
        sqlite_with_rowid=False,
    )


def _clocks() -> None:
    comment = "by how many ms its machine's clock is ahead of the run store's"
    add_missing("turnout_replicas", whole("clock_ahead", comment, nullable=True))


def _met_events() -> None:
    add_missing(
        "turnout_events",
        whole("run_seq", "the emit_seq of the last run that was there before", nullable=True),
    )
    op.create_index(_BY_NAME, "turnout_events", ["name", "run_seq"], if_not_exists=True)
    op.create_table(
        "turnout_met",
        text("run_id", "whose it is"),
        text("event_id", "the event that met a wait of the run"),
        sa.ForeignKeyConstraint(["run_id"], ["turnout_runs.run_id"]),
        sa.PrimaryKeyConstraint("run_id", "event_id"),
        comment="Events that have met a wait of a run: they meet no wait of it that looks back.",
        if_not_exists=True,
        sqlite_with_rowid=False,
    )


def _task_definitions() -> None:
    comment = "the digest of each task, by id"
    add_missing("turnout_replicas", json("tasks", comment, nullable=True))


def _dead_letters() -> None:
    op.create_table(
        "turnout_dead_letters",
        text("letter_id", "names the letter"),
        text("name", "of the event that was refused"),
        json("payload", "the event's payload"),
        text("key", "the caller's key", nullable=True),
        whole("due_at", "when its runs may start", nullable=True),
        text("error", "why it was refused"),
        whole("refused_at", "when"),
        text("event_id", "as which event it was emitted again", nullable=True),
        sa.PrimaryKeyConstraint("letter_id"),
        comment="Events that were refused at a door.",
        if_not_exists=True,
        sqlite_with_rowid=False,
    )
    condition = sa.text("event_id IS NULL")
    op.create_index(
        "turnout_dead_letters_kept",
        "turnout_dead_letters",
        ["refused_at"],
        if_not_exists=True,
        sqlite_where=condition,
        postgresql_where=condition,
    )
