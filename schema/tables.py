"""All tables. Importing this module declares every table in `metadata`."""

from schema import bookkeeping as bookkeeping
from schema import computing as computing
from schema import inbox as inbox
from schema import membership as membership
from schema import mirror_tables as mirror_tables
from schema import revenue_tables as revenue_tables
from schema.base import metadata as metadata
from schema.membership import Base as Base
