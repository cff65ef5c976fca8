"""The evidence shown in an explanation: where each object and each link comes from. It decides nothing."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from worker.membership.rules.facts import PaidLine


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """An event of the inbox. `type`, `created` (by Stripe's clock) and `received_at` are None if the inbox no longer
    has the event."""

    id: str
    type: str | None = None
    created: datetime | None = None
    received_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """The source of a mirrored object: an event, or a read of Stripe (`read` is `get` or `list`).

    After a read, `event` is the newest event of the object, or None if the inbox has none. `uncertain` is true if the
    object will be read from Stripe again.
    """

    read: str | None
    observed_at: datetime
    event: Heard | None
    uncertain: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Customer:
    """A Stripe customer of the user. `source` is the rule that linked it.

    `source` and `linked_at` are None if the application wrote the link and Stripe has not reported the customer yet.
    """

    id: str
    source: str | None
    linked_at: datetime | None
    deleted: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Unlinked:
    """A customer that is not linked and has the user's e-mail.

    `verified` is the number of users who have verified that e-mail.
    """

    id: str
    verified: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Elsewhere:
    """A customer of a connected account that has the user's e-mail or names the user. It gives the user nothing.

    `status` is the status of the account, or None if unknown.
    """

    id: str
    account: str
    status: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """The owner of a subscription, and the changes that Stripe has announced for it. They do not affect the user's
    access yet."""

    customer: str | None = None
    organization: str | None = None
    cancel_at: datetime | None = None
    cancel_at_period_end: bool = False
    collection_paused: str | None = None
    next_payment_attempt: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """The operator's note on an override, and its time."""

    text: str | None
    given_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A row of the ledger. `row` names the kind of paid line (`lines.TABLE`), None if the entry has no paid line."""

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
    """A row that a table of the application refuses: our name for the table, the Stripe id, and the error of the
    table."""

    relation: str
    id: str
    reason: str
    since: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """All evidence about one user.

    `is_waiting` is true if the user is about to be computed. `sources` has the id of an object as its key, `schedules`
    the id of a subscription. `ledger` begins with the newest row.
    """

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
