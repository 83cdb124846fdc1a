"""What a replica says of its own connections to vendors."""

from alembic import op

from turnout.stores.sql.migrations.columns import json

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column; replicas that do not know it leave it empty."""
    told = "its own connections to vendors, by provider"
    column = json("links", told, nullable=True)
    op.add_column("turnout_replicas", column)
