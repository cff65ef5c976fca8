"""All tables together: importing this module declares every one of them in `metadata`."""

from schema import bookkeeping as bookkeeping
from schema import inbox as inbox
from schema import membership as membership
from schema import mirror as mirror
from schema import revenue as revenue
from schema.base import metadata as metadata
from schema.membership import Base as Base
