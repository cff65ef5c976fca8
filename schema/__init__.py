"""Everything that is stored, as SQLAlchemy tables and ORM classes: inbox, mirror and membership.

`schema.tables.metadata` holds all of it; a test compares it with a migrated database. This module itself imports no
SQLAlchemy, so that a process that needs no table pays nothing for them.
"""

# In an adopted database this schema holds our names for the application's tables; every session looks there first.
NAMES_SCHEMA = "sync_names"
