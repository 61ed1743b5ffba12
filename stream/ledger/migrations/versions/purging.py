"""A task that purges says that it has begun to."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Let a task say so; one that lost its base has."""
    op.add_column("tasks", sa.Column("purging", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.execute(
        "UPDATE tasks SET purging = true WHERE purge = true AND base IN "
        "(SELECT version FROM versions WHERE state = 'deleted')"
    )
