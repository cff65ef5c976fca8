"""Everything that is stored, as SQLAlchemy tables and ORM classes: inbox, mirror and membership.

`schema.tables.metadata` holds all of it; a test compares it with a migrated database. This module itself imports no
SQLAlchemy, so that a process without tables saves the memory.
"""

# In an adopted database this schema holds our names for the application's tables; every session searches it first.
NAMES_SCHEMA = "sync_names"

# The default schema of the views, and the comment by which it is recognised as ours.
VIEWS_SCHEMA = "stripe"
VIEWS_MARK = "Views of stripe-sync: the Stripe objects that the schema mirror holds."
# Its name in a database.
FIND_VIEWS_SCHEMA = (
    f"select nspname::text from pg_namespace where obj_description(oid, 'pg_namespace') = '{VIEWS_MARK}'"  # noqa: S608 - ours
)
# The comment of the schema `sync`; versions before the first release did not write it.
SYNC_MARK = "The inbox of stripe-sync, and its bookkeeping."
