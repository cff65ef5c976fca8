"""The evidence of an explanation, beside the facts that decide: where each object was learned, who linked whom and when."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from worker.membership.rules.facts import PaidLine


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """An event of the inbox. `type`, `created` (Stripe's clock) and `received_at` are None once it was trimmed."""

    id: str
    type: str | None = None
    created: datetime | None = None
    received_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where the mirror has an object from: an event, or a read of Stripe (`read` is `get` or `list`); then `event` is the
    newest that told of it, None where none is kept. `uncertain`: Stripe is being asked whether it is so."""

    read: str | None
    observed_at: datetime
    event: Heard | None
    uncertain: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Customer:
    """A Stripe customer who is the user. `source` is the rule that linked it, None (and so `linked_at`) where the
    application wrote the link and Stripe has told nothing of the customer yet."""

    id: str
    source: str | None
    linked_at: datetime | None
    deleted: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Unlinked:
    """A customer without a user that has the user's e-mail. `verified` is how many users with that e-mail have verified it."""

    id: str
    verified: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Elsewhere:
    """A customer of a connected account that has the user's e-mail, or names the user. It gives nothing here. `status` is the
    account's, None if it is not known."""

    id: str
    account: str
    status: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """A subscription's announced future, and its owner: nothing that decides today."""

    customer: str | None = None
    organization: str | None = None
    cancel_at: datetime | None = None
    cancel_at_period_end: bool = False
    collection_paused: str | None = None
    next_payment_attempt: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """The operator's note beside an override, and its time."""

    text: str | None
    given_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A row of the ledger; `row` is the row of the table of paid lines that its line falls into, None if it is of no line."""

    source_key: str
    kind: str
    amount: int
    balance_before: int
    balance_after: int
    expires_at: datetime | None
    product: str | None
    subscription: str | None
    invoice: str | None
    created_at: datetime
    row: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldRow:
    """A row that a table of the application refuses: our name of the table, Stripe's id, and what the table says of it."""

    relation: str
    id: str
    reason: str
    since: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """`is_waiting`: whether the user is about to be computed. `sources` is by an object's id, `schedules` by a
    subscription's, `ledger` the newest row first."""

    email: str | None = None
    is_waiting: bool = False
    customers: tuple[Customer, ...] = ()
    unlinked: tuple[Unlinked, ...] = ()
    elsewhere: tuple[Elsewhere, ...] = ()
    held: tuple[HeldRow, ...] = ()
    schedules: Mapping[str, Schedule] = field(default_factory=dict)
    sources: Mapping[str, Source] = field(default_factory=dict)
    note: Note | None = None
    ledger: tuple[Entry, ...] = ()
    granted: tuple[PaidLine, ...] = ()
