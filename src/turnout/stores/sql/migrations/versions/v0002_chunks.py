"""What runs stream of themselves."""

import sqlalchemy as sa
from alembic import op

from turnout.stores.sql.migrations.columns import add, count, json, text, whole

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the table, and how many chunks there are of a run and of an attempt."""
    add(
        "turnout_runs",
        json("streamed", "how many chunks each branch of the function has streamed", nullable=True),
        count("chunks", "how many chunks are recorded"),
    )
    add("turnout_attempts", count("streamed", "how many of its chunks are recorded"))
    _chunks()


def _chunks() -> None:
    op.create_table(
        "turnout_chunks",
        text("run_id", "whose it is"),
        whole("number", "its place in the run, from 0"),
        text("name", "the stream's name"),
        json("value", "what was streamed"),
        whole("at", "when it was recorded"),
        text("step", "whose body streamed it; null: the function itself", nullable=True),
        whole("attempt", "and in which attempt", nullable=True),
        sa.ForeignKeyConstraint(
            ["run_id"],
            ["turnout_runs.run_id"],
        ),
        sa.PrimaryKeyConstraint("run_id", "number"),
        comment="Chunks: what runs stream of themselves; append-only.",
        sqlite_with_rowid=False,
    )
