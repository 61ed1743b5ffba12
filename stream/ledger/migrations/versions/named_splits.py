"""What the client said of an image's part is told from what the claim made of it."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Let an image say so; of older ones nobody knows any more, and a word that may have been given is kept."""
    comment = "the client's word; split is what holds since the claim"
    op.add_column("items", sa.Column("named_split", sa.String(length=16), nullable=True, comment=comment))
    op.execute("UPDATE items SET named_split = split WHERE split IS NOT NULL")
