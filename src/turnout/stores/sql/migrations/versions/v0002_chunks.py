"""What runs stream of themselves."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_WHOLE = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Add the table, and how many chunks there are of a run and of an attempt."""
    _runs()
    op.add_column(
        "turnout_attempts",
        sa.Column(
            "streamed",
            _WHOLE,
            server_default=sa.text("0"),
            nullable=False,
            comment="how many of its chunks are recorded",
        ),
    )
    _chunks()


def downgrade() -> None:
    """Remove them."""
    op.drop_table("turnout_chunks")
    op.drop_column("turnout_attempts", "streamed")
    op.drop_column("turnout_runs", "chunks")
    op.drop_column("turnout_runs", "streamed")


def _runs() -> None:
    op.add_column(
        "turnout_runs",
        sa.Column(
            "streamed",
            sa.LargeBinary(),
            nullable=True,
            comment="how many chunks each branch of the function has streamed",
        ),
    )
    op.add_column(
        "turnout_runs",
        sa.Column(
            "chunks",
            _WHOLE,
            server_default=sa.text("0"),
            nullable=False,
            comment="how many chunks are recorded",
        ),
    )


def _chunks() -> None:
    op.create_table(
        "turnout_chunks",
        sa.Column("run_id", sa.Text(), nullable=False, comment="whose it is"),
        sa.Column("number", _WHOLE, nullable=False, comment="its place in the run, from 0"),
        sa.Column("name", sa.Text(), nullable=False, comment="the stream's name"),
        sa.Column("value", sa.LargeBinary(), nullable=False, comment="what was streamed"),
        sa.Column("at", _WHOLE, nullable=False, comment="when it was recorded"),
        sa.Column(
            "step",
            sa.Text(),
            nullable=True,
            comment="whose body streamed it; null: the function itself",
        ),
        sa.Column("attempt", _WHOLE, nullable=True, comment="and in which attempt"),
        sa.ForeignKeyConstraint(
            ["run_id"],
            ["turnout_runs.run_id"],
        ),
        sa.PrimaryKeyConstraint("run_id", "number"),
        comment="Chunks: what runs stream of themselves; append-only.",
        sqlite_with_rowid=False,
    )
