"""When runs are released, what becomes of missed slots, what the flag was, which events met waits.

The release before goes on working on these tables: its runs are not released, and a run that is
released it delivers again as one that was lost. Columns that are there are left alone, so that
whoever goes back to that release, by setting the version number back, can come here again.
"""

import sqlalchemy as sa
from alembic import op

from turnout.stores.sql.migrations.columns import WHOLE, add_missing, count, drop

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


def downgrade() -> None:
    """Remove them."""
    op.drop_column("turnout_replicas", "tasks")
    op.drop_table("turnout_dead_letters")
    op.drop_column("turnout_replicas", "clock_ahead")
    op.drop_table("turnout_met")
    op.drop_index(_BY_NAME, "turnout_events")
    op.drop_column("turnout_events", "run_seq")
    op.drop_table("turnout_flags")
    op.drop_column("turnout_schedules", "catch_up")
    op.drop_index(_TO_RELEASE, "turnout_runs")
    drop("turnout_runs", "passed", "release_at")


def _released_runs() -> None:
    add_missing(
        "turnout_runs",
        sa.Column(
            "release_at",
            WHOLE,
            nullable=True,
            comment="when its vendor run ends if it is parked",
        ),
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
        sa.Column(
            "generation", WHOLE, nullable=False, comment="from 1; raised by every other value"
        ),
        sa.Column("value", sa.Text(), nullable=False, comment="ORCHESTRATOR_PROVIDER, as it is"),
        sa.Column("at", WHOLE, nullable=False, comment="when a replica first started with it"),
        sa.PrimaryKeyConstraint("generation"),
        comment="The values of the flag, in order; append-only.",
        if_not_exists=True,
        sqlite_with_rowid=False,
    )


def _clocks() -> None:
    comment = "by how many ms its machine's clock is ahead of the run store's"
    add_missing("turnout_replicas", sa.Column("clock_ahead", WHOLE, nullable=True, comment=comment))


def _met_events() -> None:
    add_missing(
        "turnout_events",
        sa.Column(
            "run_seq",
            WHOLE,
            nullable=True,
            comment="the emit_seq of the last run that was there before",
        ),
    )
    op.create_index(_BY_NAME, "turnout_events", ["name", "run_seq"], if_not_exists=True)
    op.create_table(
        "turnout_met",
        sa.Column("run_id", sa.Text(), nullable=False, comment="whose it is"),
        sa.Column(
            "event_id", sa.Text(), nullable=False, comment="the event that met a wait of the run"
        ),
        sa.ForeignKeyConstraint(["run_id"], ["turnout_runs.run_id"]),
        sa.PrimaryKeyConstraint("run_id", "event_id"),
        comment="Events that have met a wait of a run: they meet no wait of it that looks back.",
        if_not_exists=True,
        sqlite_with_rowid=False,
    )


def _task_definitions() -> None:
    comment = "the digest of each task, by id"
    add_missing(
        "turnout_replicas", sa.Column("tasks", sa.LargeBinary(), nullable=True, comment=comment)
    )


def _dead_letters() -> None:
    op.create_table(
        "turnout_dead_letters",
        sa.Column("letter_id", sa.Text(), nullable=False, comment="names the letter"),
        sa.Column("name", sa.Text(), nullable=False, comment="of the event that was refused"),
        sa.Column("payload", sa.LargeBinary(), nullable=False, comment="the event's payload"),
        sa.Column("key", sa.Text(), nullable=True, comment="the caller's key"),
        sa.Column("due_at", WHOLE, nullable=True, comment="when its runs may start"),
        sa.Column("error", sa.Text(), nullable=False, comment="why it was refused"),
        sa.Column("refused_at", WHOLE, nullable=False, comment="when"),
        sa.Column(
            "event_id", sa.Text(), nullable=True, comment="as which event it was emitted again"
        ),
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
