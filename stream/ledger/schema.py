"""The tables. The migrations make them; a test holds the two against each other."""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Dialect,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
    false,
)

NAMES = {
    "ix": "ix_%(table_name)s_%(column_0_name)s",
    "uq": "uq_%(table_name)s_%(column_0_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s",
    "pk": "pk_%(table_name)s",
}


class Moment(TypeDecorator[datetime]):
    """A time as RFC 3339 text in UTC with microseconds: both databases keep it alike, and text order is time order."""

    impl = String(27)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> str | None:
        return None if value is None else in_rfc3339(value)

    def process_result_value(self, value: Any | None, dialect: Dialect) -> datetime | None:
        return None if value is None else datetime.fromisoformat(value)


def in_rfc3339(moment: datetime) -> str:
    """The moment as it is stored."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


metadata = MetaData(naming_convention=NAMES)

tasks = Table(
    "tasks",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("ordinal", Integer, nullable=False, unique=True),
    Column("kind", String(16), nullable=False),
    Column("state", String(16), nullable=False),
    Column("by", Text, nullable=False),
    Column("name", Text),
    Column("note", Text),
    Column("requested_base", Integer, comment="0 asks for a new root"),
    Column("promote", String(16)),
    Column("purge", Boolean, nullable=False, server_default=false()),
    Column("purging", Boolean, nullable=False, server_default=false()),
    Column("images", Integer, nullable=False),
    Column("labels", JSON, nullable=False),
    Column("seq", Integer, unique=True),
    Column("base", Integer, ForeignKey("versions.version")),
    Column("claim_seq", Integer),
    Column("claim_token", Integer),
    Column("frozen", JSON(none_as_null=True)),
    Column("attempts", Integer, nullable=False),
    Column("deaths", JSON, nullable=False),
    Column("phase", String(16)),
    Column("progress", Float, nullable=False),
    Column("eta_s", Float),
    Column("epochs", JSON, nullable=False),
    Column("checkpoint_key", Text),
    Column("checkpoint_info", JSON(none_as_null=True)),
    Column("checkpoint_at", Moment),
    Column("reason", Text),
    Column("created_at", Moment, nullable=False),
    Column("started_at", Moment),
    Column("finished_at", Moment),
    CheckConstraint(
        "state IN ('open', 'queued', 'learning', 'done', 'failed', 'cancelled')",
        name="state",
    ),
    Index("ix_tasks_state", "state", "seq"),
)

batches = Table(
    "batches",
    metadata,
    Column("task", String(64), ForeignKey("tasks.id"), nullable=False),
    Column("number", Integer, nullable=False),
    Column("images", Integer, nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("at", Moment, nullable=False),
    Column("key", String(64), comment="id of the key that sent it; null before there were keys"),
    PrimaryKeyConstraint("task", "number"),
    Index("ix_batches_key", "key", "at"),
)

items = Table(
    "items",
    metadata,
    Column("task", String(64), ForeignKey("tasks.id"), nullable=False),
    Column("position", Integer, nullable=False),
    Column("batch", Integer, nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("pixel_digest", String(64), nullable=False),
    Column("label", String(200), nullable=False),
    Column("split", String(16)),
    Column("named_split", String(16), comment="the client's word; split is what holds since the claim"),
    Column("size_bytes", BigInteger, nullable=False),
    Column("name", Text),
    Column("purged", Boolean, nullable=False),
    PrimaryKeyConstraint("task", "position"),
    UniqueConstraint("task", "pixel_digest"),
    Index("ix_items_pixel_digest", "pixel_digest"),
)

versions = Table(
    "versions",
    metadata,
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("parent", Integer, ForeignKey("versions.version")),
    Column("task", String(64), index=True),
    Column("kind", String(16), nullable=False),
    Column("state", String(16), nullable=False),
    Column("classes", JSON, nullable=False),
    Column("accuracy", Float),
    Column("accuracy_per_task", JSON, nullable=False),
    Column("forgetting", Float),
    Column("calibration_error", Float),
    Column("gate", JSON(none_as_null=True)),
    Column("runtime", Text),
    Column("reason", Text),
    Column("note", Text),
    Column("size_bytes", BigInteger, nullable=False),
    Column("digest", String(64), nullable=False),
    Column("parts", JSON, nullable=False),
    Column("created_at", Moment, nullable=False),
    CheckConstraint("state IN ('ready', 'held', 'damaged', 'deleted')", name="state"),
    Index("ix_versions_parent", "parent"),
)

promotions = Table(
    "promotions",
    metadata,
    Column("seq", Integer, primary_key=True, autoincrement=False),
    Column("alias", String(64), nullable=False),
    Column("version", Integer, ForeignKey("versions.version")),
    Column("previous", Integer, ForeignKey("versions.version")),
    Column("task", String(64)),
    Column("at", Moment, nullable=False),
    Column("by", Text, nullable=False),
    Column("reason", Text),
    Column("lost", JSON, nullable=False),
    Column("won", JSON, nullable=False),
    Index("ix_promotions_alias", "alias", "seq"),
)

aliases = Table(
    "aliases",
    metadata,
    Column("alias", String(64), primary_key=True),
    Column("version", Integer, ForeignKey("versions.version")),
    Column("seq", Integer, ForeignKey("promotions.seq"), nullable=False),
)

leases = Table(
    "leases",
    metadata,
    Column("name", String(200), primary_key=True),
    Column("owner", Text, nullable=False),
    Column("host", Text, nullable=False),
    Column("token", Integer, nullable=False),
    Column("ttl_s", Float, nullable=False),
    Column("info", JSON, nullable=False),
    Column("acquired_at", Moment, nullable=False),
    Column("renewed_at", Moment, nullable=False),
    Column("expires_at", Moment, nullable=False),
)

requests = Table(
    "requests",
    metadata,
    Column("scope", String(200), nullable=False),
    Column("route", String(200), nullable=False),
    Column("key", String(255), nullable=False),
    Column("owner", Text, nullable=False),
    Column("fingerprint", Text, comment="null while the first request is in flight"),
    Column("resource_kind", String(16)),
    Column("resource_id", Text),
    Column("at", Moment, nullable=False),
    PrimaryKeyConstraint("scope", "route", "key"),
    Index("ix_requests_at", "at"),
)

graphs = Table(
    "graphs",
    metadata,
    Column("key", String(64), primary_key=True),
    Column("digest", String(64), nullable=False),
    Column("at", Moment, nullable=False),
)

runtime_choices = Table(
    "runtime_choices",
    metadata,
    Column("graph_key", String(64), nullable=False),
    Column("machine", Text, nullable=False),
    Column("choice", JSON, nullable=False),
    Column("at", Moment, nullable=False),
    PrimaryKeyConstraint("graph_key", "machine"),
)

keys = Table(
    "keys",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("name", Text, nullable=False),
    Column("scope", String(16), nullable=False),
    Column("digest", String(64), nullable=False, comment="SHA-256 of the token"),
    Column("created_at", Moment, nullable=False),
    Column("expires_at", Moment),
    Column("revoked_at", Moment),
    Column("last_used_at", Moment),
    Column("rate", Float, comment="requests a second"),
    Column("images_per_day", Integer),
    Column("changed", Integer, nullable=False, unique=True),
    CheckConstraint("scope IN ('predict', 'learn', 'admin')", name="scope"),
)

audit = Table(
    "audit",
    metadata,
    Column("seq", Integer, primary_key=True, autoincrement=False),
    Column("at", Moment, nullable=False),
    Column("key", String(64)),
    Column("name", Text),
    Column("route", Text, nullable=False),
    Column("method", Text, nullable=False),
    Column("status", Integer, nullable=False),
    Column("object", Text),
    Column("remote", Text),
    Column("times", Integer, nullable=False, comment="how often it happened alike within seconds"),
    Index("ix_audit_at", "at"),
)
