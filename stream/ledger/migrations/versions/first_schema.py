"""The first schema: tasks with their images, versions, aliases and promotions, leases, requests, runtimes."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make every table, those that others refer to first."""
    _graphs()
    _leases()
    _requests()
    _runtime_choices()
    _versions()
    _promotions()
    _tasks()
    _aliases()
    _batches()
    _items()


def _graphs() -> None:
    op.create_table(
        "graphs",
        sa.Column("key", sa.String(length=64), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("at", sa.String(length=27), nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_graphs")),
    )


def _leases() -> None:
    op.create_table(
        "leases",
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("token", sa.Integer(), nullable=False),
        sa.Column("ttl_s", sa.Float(), nullable=False),
        sa.Column("info", sa.JSON(), nullable=False),
        sa.Column("acquired_at", sa.String(length=27), nullable=False),
        sa.Column("renewed_at", sa.String(length=27), nullable=False),
        sa.Column("expires_at", sa.String(length=27), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_leases")),
    )


def _requests() -> None:
    op.create_table(
        "requests",
        sa.Column("scope", sa.String(length=200), nullable=False),
        sa.Column("route", sa.String(length=200), nullable=False),
        sa.Column("key", sa.String(length=255), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("fingerprint", sa.Text(), nullable=True, comment="null while the first request is in flight"),
        sa.Column("resource_kind", sa.String(length=16), nullable=True),
        sa.Column("resource_id", sa.Text(), nullable=True),
        sa.Column("at", sa.String(length=27), nullable=False),
        sa.PrimaryKeyConstraint("scope", "route", "key", name=op.f("pk_requests")),
    )
    op.create_index("ix_requests_at", "requests", ["at"], unique=False)


def _runtime_choices() -> None:
    op.create_table(
        "runtime_choices",
        sa.Column("graph_key", sa.String(length=64), nullable=False),
        sa.Column("machine", sa.Text(), nullable=False),
        sa.Column("choice", sa.JSON(), nullable=False),
        sa.Column("at", sa.String(length=27), nullable=False),
        sa.PrimaryKeyConstraint("graph_key", "machine", name=op.f("pk_runtime_choices")),
    )


def _versions() -> None:
    op.create_table(
        "versions",
        sa.Column("version", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("parent", sa.Integer(), nullable=True),
        sa.Column("task", sa.String(length=64), nullable=True),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("classes", sa.JSON(), nullable=False),
        sa.Column("accuracy", sa.Float(), nullable=True),
        sa.Column("accuracy_per_task", sa.JSON(), nullable=False),
        sa.Column("forgetting", sa.Float(), nullable=True),
        sa.Column("calibration_error", sa.Float(), nullable=True),
        sa.Column("gate", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("runtime", sa.Text(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("note", sa.Text(), nullable=True),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("parts", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.String(length=27), nullable=False),
        sa.CheckConstraint("state IN ('ready', 'held', 'damaged', 'deleted')", name=op.f("ck_versions_state")),
        sa.ForeignKeyConstraint(["parent"], ["versions.version"], name=op.f("fk_versions_parent")),
        sa.PrimaryKeyConstraint("version", name=op.f("pk_versions")),
    )
    op.create_index("ix_versions_parent", "versions", ["parent"], unique=False)
    op.create_index(op.f("ix_versions_task"), "versions", ["task"], unique=False)


def _promotions() -> None:
    op.create_table(
        "promotions",
        sa.Column("seq", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("alias", sa.String(length=64), nullable=False),
        sa.Column("version", sa.Integer(), nullable=True),
        sa.Column("previous", sa.Integer(), nullable=True),
        sa.Column("task", sa.String(length=64), nullable=True),
        sa.Column("at", sa.String(length=27), nullable=False),
        sa.Column("by", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("lost", sa.JSON(), nullable=False),
        sa.Column("won", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(["previous"], ["versions.version"], name=op.f("fk_promotions_previous")),
        sa.ForeignKeyConstraint(["version"], ["versions.version"], name=op.f("fk_promotions_version")),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_promotions")),
    )
    op.create_index("ix_promotions_alias", "promotions", ["alias", "seq"], unique=False)


def _tasks() -> None:
    op.create_table(
        "tasks",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("ordinal", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("by", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=True),
        sa.Column("note", sa.Text(), nullable=True),
        sa.Column("requested_base", sa.Integer(), nullable=True, comment="0 asks for a new root"),
        sa.Column("promote", sa.String(length=16), nullable=True),
        sa.Column("images", sa.Integer(), nullable=False),
        sa.Column("labels", sa.JSON(), nullable=False),
        sa.Column("seq", sa.Integer(), nullable=True),
        sa.Column("base", sa.Integer(), nullable=True),
        sa.Column("claim_seq", sa.Integer(), nullable=True),
        sa.Column("claim_token", sa.Integer(), nullable=True),
        sa.Column("frozen", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("deaths", sa.JSON(), nullable=False),
        sa.Column("phase", sa.String(length=16), nullable=True),
        sa.Column("progress", sa.Float(), nullable=False),
        sa.Column("eta_s", sa.Float(), nullable=True),
        sa.Column("epochs", sa.JSON(), nullable=False),
        sa.Column("checkpoint_key", sa.Text(), nullable=True),
        sa.Column("checkpoint_info", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("checkpoint_at", sa.String(length=27), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("created_at", sa.String(length=27), nullable=False),
        sa.Column("started_at", sa.String(length=27), nullable=True),
        sa.Column("finished_at", sa.String(length=27), nullable=True),
        sa.CheckConstraint(
            "state IN ('open', 'queued', 'learning', 'done', 'failed', 'cancelled')", name=op.f("ck_tasks_state")
        ),
        sa.ForeignKeyConstraint(["base"], ["versions.version"], name=op.f("fk_tasks_base")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tasks")),
        sa.UniqueConstraint("ordinal", name=op.f("uq_tasks_ordinal")),
        sa.UniqueConstraint("seq", name=op.f("uq_tasks_seq")),
    )
    op.create_index("ix_tasks_state", "tasks", ["state", "seq"], unique=False)


def _aliases() -> None:
    op.create_table(
        "aliases",
        sa.Column("alias", sa.String(length=64), nullable=False),
        sa.Column("version", sa.Integer(), nullable=True),
        sa.Column("seq", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["seq"], ["promotions.seq"], name=op.f("fk_aliases_seq")),
        sa.ForeignKeyConstraint(["version"], ["versions.version"], name=op.f("fk_aliases_version")),
        sa.PrimaryKeyConstraint("alias", name=op.f("pk_aliases")),
    )


def _batches() -> None:
    op.create_table(
        "batches",
        sa.Column("task", sa.String(length=64), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("images", sa.Integer(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.String(length=27), nullable=False),
        sa.ForeignKeyConstraint(["task"], ["tasks.id"], name=op.f("fk_batches_task")),
        sa.PrimaryKeyConstraint("task", "number", name=op.f("pk_batches")),
    )


def _items() -> None:
    op.create_table(
        "items",
        sa.Column("task", sa.String(length=64), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("batch", sa.Integer(), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("pixel_digest", sa.String(length=64), nullable=False),
        sa.Column("label", sa.String(length=200), nullable=False),
        sa.Column("split", sa.String(length=16), nullable=True),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("name", sa.Text(), nullable=True),
        sa.Column("purged", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(["task"], ["tasks.id"], name=op.f("fk_items_task")),
        sa.PrimaryKeyConstraint("task", "position", name=op.f("pk_items")),
        sa.UniqueConstraint("task", "pixel_digest", name=op.f("uq_items_task")),
    )
