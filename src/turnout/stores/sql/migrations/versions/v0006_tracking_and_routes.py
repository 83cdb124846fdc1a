"""Who changed routes; whose runs they are, why they exist, and who changed their states.

The release before goes on working on these tables: it follows the routes, and does not say which it
has read; its runs have no labels, nothing says who changed them, and it leads nothing. Columns that
are there are left alone, so that whoever goes back to that release can come here again.
"""

from pathlib import Path
from typing import Any

import sqlalchemy as sa
from alembic import op

from turnout.stores.sql.migrations.columns import (
    WHOLE,
    add_index,
    add_missing,
    count,
    json,
    make_tables,
    text,
    whole,
)

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_RECONCILIATION = ("turnout_leaders", "turnout_sweeps", "turnout_findings")
_LISTED_AT = "when the provider's own list last had its vendor run"


def upgrade() -> None:
    """Add the columns, the tables and the indexes; each section stands for itself."""
    _routes()
    _labels()
    _origins()
    _causes()
    add_missing("turnout_dead_letters", text("dropped", "why it was dropped", nullable=True))
    add_missing("turnout_deliveries", whole("listed_at", _LISTED_AT, nullable=True))
    make_tables(*_RECONCILIATION)
    name = f"worker_jobs.{op.get_bind().dialect.name}.sql"
    op.execute((Path(__file__).parents[1] / name).read_text())


def _routes() -> None:
    add_missing(
        "turnout_routes",
        count("generation", "the number of the change that set it"),
        count("stay", "1 while it is pinned"),
    )
    add_missing(
        "turnout_replicas",
        sa.Column("routes", WHOLE, nullable=True, comment="the newest change that it has read"),
        sa.Column("routes_read_at", WHOLE, nullable=True, comment="when it read the routes last"),
    )
    op.create_table(
        "turnout_route_history",
        sa.Column("number", WHOLE, nullable=False, comment="from 1, over all tasks"),
        sa.Column("task", sa.Text(), nullable=False, comment="the task's id"),
        sa.Column("action", sa.Text(), nullable=False, comment="what was done"),
        sa.Column("at", WHOLE, nullable=False, comment="when"),
        sa.Column("who", sa.Text(), nullable=False, comment="the operator"),
        sa.Column("reason", sa.Text(), nullable=False, comment="why"),
        sa.Column("ticket", sa.Text(), nullable=True, comment="where it was agreed"),
        sa.Column("evidence", sa.Text(), nullable=True, comment="the digest of the verdict"),
        sa.Column("detail", sa.LargeBinary(), nullable=False, comment="routes, override, times"),
        sa.PrimaryKeyConstraint("number"),
        comment="What operators did with routes; append-only.",
        if_not_exists=True,
    )


def _labels() -> None:
    add_missing("turnout_events", _user_id())
    for table in ("turnout_dead_letters", "turnout_runs"):
        add_missing(
            table,
            _user_id(),
            json("tags", "its tags, in order; null: none", nullable=True),
            json("metadata", "what else its caller says of it; null: nothing", nullable=True),
        )
    columns = ["user_id", "emit_seq"]
    add_index("turnout_runs_by_user", "turnout_runs", columns, "user_id IS NOT NULL")
    op.create_table(
        "turnout_tags",
        text("tag", "the tag"),
        whole("emit_seq", "of the run that has it"),
        sa.PrimaryKeyConstraint("tag", "emit_seq"),
        comment="Tags of runs, to find them by.",
        if_not_exists=True,
        sqlite_with_rowid=False,
    )


def _user_id() -> sa.Column[Any]:
    return text("user_id", "for whom it is", nullable=True)


def _origins() -> None:
    add_missing(
        "turnout_runs",
        text("origin", "RunOrigin; null: event", nullable=True),
        text("retry_of", "the run whose retry it is", nullable=True),
        json("retries", "its retry policy; null: its task's", nullable=True),
    )
    add_index("turnout_runs_by_retried", "turnout_runs", ["retry_of"], "retry_of IS NOT NULL")
    op.create_index("turnout_runs_by_time", "turnout_runs", ["emitted_at"], if_not_exists=True)
    failed = "ended_at IS NOT NULL AND result IS NULL"
    add_index("turnout_runs_without_result", "turnout_runs", ["emit_seq"], failed)


def _causes() -> None:
    add_missing(
        "turnout_transitions",
        text("cause", "TransitionCause; null: not recorded", nullable=True),
        text("actor", "who or what said so, where the cause leaves that open", nullable=True),
    )
