"""What is stored: three floors (inbox, mirror, membership) as SQLAlchemy tables and ORM classes.

`metadata` is the whole of it: a migrated database equals it, and a test says so.
"""

from schema import inbox, membership, mirror
from schema.base import Base, metadata

__all__ = ["Base", "inbox", "membership", "metadata", "mirror"]
