"""A picture is found by its digest, whatever task it belongs to."""

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the index."""
    op.create_index("ix_items_pixel_digest", "items", ["pixel_digest"], unique=False)
