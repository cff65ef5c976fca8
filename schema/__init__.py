"""Everything that is stored, as SQLAlchemy tables and ORM classes: inbox, mirror and membership.

`schema.tables.metadata` has all tables. A test compares it with a migrated database. This module does not import SQLAlchemy,
which would cost memory in processes that need no tables.
"""

# In an adopted database, this schema has views with our names for the application's tables. Sessions search it first.
NAMES_SCHEMA = "sync_names"

# The default name of the views' schema, and the comment that marks the schema as ours.
VIEWS_SCHEMA = "stripe"
VIEWS_MARK = "Views of stripe-sync: the Stripe objects that the schema mirror holds."
# Find the name of the views' schema in a database.
FIND_VIEWS_SCHEMA = (
    f"select nspname::text from pg_namespace where obj_description(oid, 'pg_namespace') = '{VIEWS_MARK}'"  # noqa: S608 - ours
)
# The comment on the schema `sync`. Versions before the first release did not set it.
SYNC_MARK = "The inbox of stripe-sync, and its bookkeeping."
