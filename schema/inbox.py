"""The inbox, `sync.events`, which stores every event as Stripe sent it."""

from sqlalchemy import Boolean, CheckConstraint, Column, DateTime, Index, Integer, Table, Text, text

from schema.base import metadata

_now = text("now()")

events = Table(
    "events",
    metadata,
    Column("id", Text, primary_key=True),
    Column("account", Text, nullable=False, server_default="", comment="connected account; empty for our own"),
    Column("type", Text, nullable=False),
    Column("object_type", Text, comment="data.object.object, or the related object's type of a thin event"),
    Column("object_id", Text),
    Column("livemode", Boolean, nullable=False),
    Column("created", DateTime(timezone=True), nullable=False, comment="Stripe's clock"),
    Column("received_at", DateTime(timezone=True), nullable=False, server_default=_now),
    Column("body", Text, nullable=False, comment="as received, without U+0000"),
    Column("status", Text, nullable=False, server_default="pending"),
    Column("outcome", Text),
    Column("attempts", Integer, nullable=False, server_default=text("0")),
    Column("next_attempt_at", DateTime(timezone=True), nullable=False, server_default=_now),
    Column("last_error", Text),
    Column("done_at", DateTime(timezone=True)),
    Column("traceparent", Text, comment="the span that received it, as a W3C traceparent"),
    Column(
        "signed_by", Text, comment="fingerprint of the secret that signed it, until the secret is proven to be ours"
    ),
    CheckConstraint("status in ('pending', 'done', 'parked')", name="status_is_known"),
    Index("ix_events_due", "next_attempt_at", postgresql_where=text("status = 'pending'")),
    Index("ix_events_parked", "created", postgresql_where=text("status = 'parked'")),
    Index("ix_events_object", "object_id", "created"),
    Index("ix_events_signed_by", "signed_by", "received_at", postgresql_where=text("signed_by is not null")),
    Index("ix_events_created", "created", "id"),
    schema="sync",
    comment="The inbox: events as Stripe sent them. A pending event is due once next_attempt_at has passed.",
)
