"""Who changed routes and why, and which routes each replica goes by.

The release before goes on working on these tables: it follows the routes, and does not say which it
has read. Each section stands for itself.
"""

import sqlalchemy as sa
from alembic import op

from turnout.stores.sql.migrations.columns import WHOLE, add_missing, count, drop

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns and the tables; each section stands for itself."""
    _routes()


def downgrade() -> None:
    """Remove them."""
    op.drop_table("turnout_route_history")
    drop("turnout_routes", "stay", "generation")
    drop("turnout_replicas", "routes_read_at", "routes")


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
