"""What runs stream of themselves."""

import sqlalchemy as sa
from alembic import op

from turnout.stores.sql.migrations.columns import WHOLE, add, count, drop

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the table, and how many chunks there are of a run and of an attempt."""
    add(
        "turnout_runs",
        sa.Column(
            "streamed",
            sa.LargeBinary(),
            nullable=True,
            comment="how many chunks each branch of the function has streamed",
        ),
        count("chunks", "how many chunks are recorded"),
    )
    add("turnout_attempts", count("streamed", "how many of its chunks are recorded"))
    _chunks()


def downgrade() -> None:
    """Remove them."""
    op.drop_table("turnout_chunks")
    drop("turnout_attempts", "streamed")
    drop("turnout_runs", "chunks", "streamed")


def _chunks() -> None:
    op.create_table(
        "turnout_chunks",
        sa.Column("run_id", sa.Text(), nullable=False, comment="whose it is"),
        sa.Column("number", WHOLE, nullable=False, comment="its place in the run, from 0"),
        sa.Column("name", sa.Text(), nullable=False, comment="the stream's name"),
        sa.Column("value", sa.LargeBinary(), nullable=False, comment="what was streamed"),
        sa.Column("at", WHOLE, nullable=False, comment="when it was recorded"),
        sa.Column(
            "step",
            sa.Text(),
            nullable=True,
            comment="whose body streamed it; null: the function itself",
        ),
        sa.Column("attempt", WHOLE, nullable=True, comment="and in which attempt"),
        sa.ForeignKeyConstraint(
            ["run_id"],
            ["turnout_runs.run_id"],
        ),
        sa.PrimaryKeyConstraint("run_id", "number"),
        comment="Chunks: what runs stream of themselves; append-only.",
        sqlite_with_rowid=False,
    )
