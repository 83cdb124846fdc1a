"""Whose store this is, and why each delivery exists.

The release before goes on working on these tables: what it inserts has no reason, which says
`first` or `lost` by its number, and is of epoch 0. Columns that are there are left alone, so that
whoever goes back to that release, by setting the version number back, can come here again.
"""

import sqlalchemy as sa
from alembic import op

from turnout.stores.sql.migrations.columns import add_missing, count, text

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_BY_VENDOR_RUN = "turnout_deliveries_by_vendor_run"


def upgrade() -> None:
    """Add the columns and the index; say why the deliveries exist that are still of concern."""
    _store()
    _deliveries()
    op.execute(
        "UPDATE turnout_deliveries SET reason = CASE number WHEN 1 THEN 'first' ELSE 'lost' END"
        " WHERE reason IS NULL"
        " AND (watched = 1 OR state IN ('pending', 'sent', 'claimed'))"
    )


def _store() -> None:
    add_missing(
        "turnout_store",
        text("app", "the app that it belongs to; null: none has opened it yet", nullable=True),
        text("environment", "the environment that the app first opened it in", nullable=True),
        count("epoch", "raised after it was restored from a backup"),
        sa.Column(
            "oldest_code",
            sa.Text(),
            server_default=sa.text("'0003'"),
            nullable=False,
            comment="the oldest revision that code must know to work on these tables",
        ),
    )


def _deliveries() -> None:
    add_missing(
        "turnout_deliveries",
        text("reason", "DeliveryReason; null: first for number 1, else lost", nullable=True),
        count("epoch", "the store's when it was made or last pending"),
    )
    condition = sa.text("provider_run_id IS NOT NULL")
    op.create_index(
        _BY_VENDOR_RUN,
        "turnout_deliveries",
        ["provider", "provider_run_id"],
        if_not_exists=True,
        sqlite_where=condition,
        postgresql_where=condition,
    )
