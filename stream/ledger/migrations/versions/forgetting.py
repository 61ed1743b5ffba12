"""A task that forgets a class may purge it."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Let a task say so."""
    op.add_column("tasks", sa.Column("purge", sa.Boolean(), nullable=False, server_default=sa.false()))
