"""What a replica says of its own connections to vendors."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column; replicas that do not know it leave it empty."""
    told = "its own connections to vendors, by provider"
    column = sa.Column("links", sa.LargeBinary(), nullable=True, comment=told)
    op.add_column("turnout_replicas", column)


def downgrade() -> None:
    """Remove it."""
    op.drop_column("turnout_replicas", "links")
