"""Everything that is stored, as SQLAlchemy tables and ORM classes: inbox, mirror and membership.

`schema.tables.metadata` holds all of it; a test compares it with a migrated database. This module itself imports no
SQLAlchemy, so that a process that needs no table pays nothing for them.
"""

# In an adopted database this schema holds our names for the application's tables; every session looks there first.
NAMES_SCHEMA = "sync_names"

# The schema of the views, where STRIPE_SCHEMA does not say otherwise, and the comment that tells ours from another tool's.
VIEWS_SCHEMA = "stripe"
VIEWS_MARK = "Views of stripe-sync: the Stripe objects that the schema mirror holds."
# Its name in a database.
FIND_VIEWS_SCHEMA = (
    f"select nspname::text from pg_namespace where obj_description(oid, 'pg_namespace') = '{VIEWS_MARK}'"  # noqa: S608 - ours
)
# The comment of the schema `sync`: no version before the first release wrote it.
SYNC_MARK = "The inbox of stripe-sync, and its bookkeeping."
