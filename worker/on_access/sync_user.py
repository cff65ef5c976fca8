"""Read one user from Stripe while a request waits: all subscriptions of all the user's customers, and their payments.

Only one worker at a time reads a user. It holds a lease in `sync.user_syncs`, which ends by itself, and other workers
wait for the result. Reads use the reserved part of the rate limit, so that a backfill can't delay them. No connection
to Postgres is held during a read.
"""

import re
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Any

import psycopg

from worker.config.errors import Permanent
from worker.membership import compute
from worker.membership.rules.access import Policy
from worker.mirror import store as mirror
from worker.mirror.fold import Key
from worker.mirror.registry import object_type
from worker.mirror.version import AMBIGUITY_SECONDS, content_hash
from worker.observe import log
from worker.on_access import store as access_store
from worker.on_access.freshness import Stored
from worker.stripe_api.answers import Answer, Page
from worker.stripe_api.client import Stripe
from worker.stripe_api.errors import InvalidRequest, TimedOut
from worker.stripe_api.json_paths import reference
from worker.writers import refetch
from worker.writers.list_pass import Listing, Tally, record_absent, record_page
from worker.writers.record import Answered, record_answers

_log = log.get("user_sync")

# An answer older than this is not used.
READ_SECONDS = 4.0
# The lease is longer than the reads by this margin, because the last read may still be running when time is up, and its
# result must be written.
LEASE_MARGIN_SECONDS = 5.0
LOOK_SECONDS = 0.05
# At most this many latest invoices of active subscriptions are read, because an old invoice may stay open for ever.
MOST_INVOICES = 3
# The catalogue is read every few minutes, so few products are not mirrored yet.
MOST_PRODUCTS = 3

Connections = Callable[[], AbstractContextManager[psycopg.Connection]]
"""A function that lends a connection in autocommit mode for a `with` block."""


_SESSION_ID = re.compile(r"cs_\w{1,250}", re.ASCII)


class NoSuchUser(Permanent):
    """There is no such user."""


class NotTheirs(Permanent):
    """The Checkout session does not belong to this user."""


def is_session_id(text: str) -> bool:
    """Whether the text has the form of a Checkout session's id."""
    return _SESSION_ID.fullmatch(text) is not None


def stored(connections: Connections, user: str, policy: Policy, *, lookups: Connections | None = None) -> Stored:
    """A user's stored access. If the user is due to be computed, that is done first. Raises NoSuchUser.

    `lookups` lends connections that are only used for the lookup.
    """
    with (lookups or connections)() as conn:
        known = access_store.stored(conn, user)
    if known is not None and known.is_due:
        with connections() as conn:
            with conn.transaction():
                compute.compute(conn, [user], policy, concerned_only=True)
            known = access_store.stored(conn, user)
    if known is None:
        raise NoSuchUser(f"There is no user {user}.", user_id=user)
    return known


def bring_up(
    connections: Connections,
    stripe: Callable[[], Stripe],
    policy: Policy,
    user: str,
    *,
    since: datetime,
    seconds: float,
    checkout_session: str | None = None,
    search: bool = False,
) -> Tally | None:
    """Read the user from Stripe, so that the tables contain the state at `since` or later.

    Returns None if another worker has done so. If a Checkout session is given, its customer is read and linked first;
    raises NotTheirs if the session does not belong to the user. With `search`, if the user has no customer, customers
    with the user's verified e-mail are searched at Stripe. Raises NoSuchUser, Temporary if Stripe did not answer within
    `seconds`, and the errors of `Stripe` for an unusable key.
    """
    source, ends = stripe(), time.monotonic() + seconds
    named = checkout_session is not None
    while True:
        with connections() as conn:
            lease = access_store.claim(
                conn, user, since=None if named else since, seconds=seconds + LEASE_MARGIN_SECONDS
            )
        if lease is not None:
            break
        known = stored(connections, user, policy)
        if not named and known.linked_at is not None:
            # A customer that was linked in the meantime must be read too.
            since = max(since, known.linked_at)
            if known.is_fresh(since):
                return None
        if time.monotonic() > ends:
            raise TimedOut("another worker is reading this user from Stripe and takes too long", user_id=user)
        time.sleep(LOOK_SECONDS)
    began, tally = time.monotonic(), Tally()
    reading = _Reading(connections, _Reserved(source, ends=ends), policy, user, tally)
    try:
        reading.run(checkout_session, search=search)
    finally:
        with connections() as conn:
            access_store.release(conn, user, lease)
    _log.info("user.synced", user_id=user, duration_ms=round((time.monotonic() - began) * 1000, 1), **tally.as_dict())
    return tally


def force(
    connections: Connections,
    stripe: Callable[[], Stripe],
    policy: Policy,
    user: str,
    *,
    seconds: float,
    checkout_session: str | None = None,
) -> Tally | None:
    """Read the user from Stripe as of now, for callers that can wait."""
    since = stored(connections, user, policy).now
    return bring_up(
        connections,
        stripe,
        policy,
        user,
        since=since,
        seconds=seconds,
        checkout_session=checkout_session,
        search=True,
    )


class _Reserved:
    """A Stripe client that uses the reserved part of the rate limit, until a deadline."""

    def __init__(self, stripe: Stripe, *, ends: float) -> None:
        self._stripe, self._ends = stripe, ends

    def retrieve(self, path: str, *, account: str = "") -> Answer:
        return self._stripe.retrieve(path, account=account, timeout=READ_SECONDS, deadline=self._left(), reserved=True)

    def page(self, path: str, params: Mapping[str, Any] | None = None, *, account: str = "") -> Page:
        return self._stripe.page(
            path, params, account=account, timeout=READ_SECONDS, deadline=self._left(), reserved=True
        )

    def _left(self) -> float:
        left = self._ends - time.monotonic()
        if left <= 0:
            raise TimedOut
        return left


class _Reading:
    """One read of one user, by the holder of the lease.

    Each answer is written at once, so an interrupted read is not lost.
    """

    def __init__(self, connections: Connections, stripe: _Reserved, policy: Policy, user: str, tally: Tally) -> None:
        self._connections, self._stripe, self._policy = connections, stripe, policy
        self._user, self._tally = user, tally

    def run(self, checkout_session: str | None, *, search: bool) -> None:
        """Link customers first, then read all of them, so that `finish` knows which customers were read."""
        sold = None if checkout_session is None else self._take_session(checkout_session)
        with self._connections() as conn:
            self._link(conn, access_store.unlinked(conn, self._user))
            asked_at, customers = access_store.customers(conn, self._user)
            email = access_store.verified_email(conn, self._user) if search and not customers else None
        if email is not None:
            self._search(email)
            with self._connections() as conn:
                asked_at, customers = access_store.customers(conn, self._user)
        equal = True
        for customer, deleted in customers.items():
            if not deleted:
                equal = self._subscriptions(customer) and equal
        with self._connections() as conn:
            products = access_store.unknown_products(conn, list(customers), limit=MOST_PRODUCTS)
            invoices = access_store.unpaid_invoices(conn, list(customers), limit=MOST_INVOICES)
        # Invoices come last, because subscriptions and products decide what a paid line grants and for how long.
        for product in products:
            self._retrieve("product", product)
        for invoice in dict.fromkeys([*([sold] if sold else []), *invoices]):
            self._retrieve("invoice", invoice)
        with self._connections() as conn, conn.transaction():
            compute.compute(conn, [self._user], self._policy, concerned_only=True)
            if equal:
                access_store.finish(conn, self._user, asked_at=asked_at, asked=list(customers))

    def _take_session(self, id_: str) -> str | None:
        """Mirror the session and its customer; returns the session's invoice.

        Raises NotTheirs if they don't belong to this user.
        """
        self._retrieve("checkout.session", id_)
        with self._connections() as conn:
            known = access_store.session(conn, id_)
        if known is None:
            raise NotTheirs(f"Stripe has no Checkout session {id_}.", checkout_session=id_)
        if known.customer is not None and known.user is None:
            self._retrieve("customer", known.customer)
            with self._connections() as conn:
                self._link(conn, [known.customer])
                known = access_store.session(conn, id_)
        if known is None or known.user != self._user:
            raise NotTheirs(_why_not(id_, known), checkout_session=id_)
        return known.invoice

    def _search(self, email: str) -> None:
        """Mirror the customers with the user's e-mail, and link the customers for which a rule matches."""
        customers = Listing(object="customer", path="/v1/customers", params={"email": email})
        page = self._stripe.page(customers.path, customers.query)
        with self._connections() as conn:
            record_page(conn, customers, page, self._policy, self._tally)
            self._link(conn, [customer["id"] for customer in page.data])

    def _link(self, conn: psycopg.Connection, customers: list[str]) -> None:
        if customers:
            with conn.transaction():
                compute.recompute(conn, customers, self._policy)

    def _subscriptions(self, customer: str) -> bool:
        """Read all subscriptions of a customer; returns whether the mirror is now equal to Stripe's list.

        It may differ if an event at about the same time contains another state.
        """
        wanted = Listing(
            object="subscription", path="/v1/subscriptions", params={"customer": customer, "status": "all"}
        )
        after: dict[str, str] = {}
        equal, listed, before = True, list[str](), 0
        while True:
            try:
                page = self._stripe.page(wanted.path, {**wanted.query, **after})
            except InvalidRequest as error:
                if error.ids.get("code") != "resource_missing":
                    raise
                # Stripe has no list for a deleted customer, but the customer itself can still be read.
                self._retrieve("customer", customer, gone=True)
                return False
            before = before or page.read_at - AMBIGUITY_SECONDS
            listed += [subscription["id"] for subscription in page.data]
            with self._connections() as conn:
                record_page(conn, wanted, page, self._policy, self._tally)
                hashes = {
                    Key("subscriptions", "subscription", known["id"], ""): content_hash(known) for known in page.data
                }
                equal = not mirror.differing(conn, hashes) and equal
            for subscription in page.data:
                if any(children.is_cut(subscription) for children in object_type("subscription").children):
                    self._retrieve("subscription", subscription["id"])
            if not page.has_more:
                break
            after = {"starting_after": listed[-1]}
        with self._connections() as conn:
            missing = access_store.absent(conn, customer, listed=listed, before=before)
        for id_ in missing:
            self._retrieve("subscription", id_, gone=True)
        return equal

    def _retrieve(self, name: str, id_: str, *, gone: bool = False) -> None:
        """Mirror the object as Stripe has it now, unless it is settled in a final status.

        `gone` is true if a list has already shown that the object may be deleted. Then one answer is enough to mark it
        deleted.
        """
        type_ = object_type(name)
        key = Key(type_.table.name, name, id_, "")
        with self._connections() as conn:
            version = mirror.lock(conn, [key]).get(key)
        if version is not None and not gone and not version.unsettled and (version.final or not type_.final):
            return
        assert type_.url is not None
        answer = self._stripe.retrieve(type_.url.format(id=id_))
        rev = version.rev if version is not None else 0
        if gone:
            with self._connections() as conn:
                record_absent(conn, [(key, answer, rev)], self._policy, self._tally)
        elif answer.object is not None:
            customer = reference(type_.customer(answer.object))
            if name != "customer" and customer is not None:
                # The customer comes first, because the user in its metadata has precedence over the reference of a
                # session.
                self._retrieve("customer", customer)
            seen = refetch.observation(self._stripe, key, answer)
            with self._connections() as conn, conn.transaction():
                # If the row has changed in the meantime, this answer is discarded. The event that changed the row
                # contained the object or has queued another read.
                record_answers(conn, [Answered(seen, rev)], self._policy)


def _why_not(id_: str, known: access_store.Session | None) -> str:
    if known is None or known.status != "complete":
        return f"The Checkout session {id_} is not complete: it is not paid yet."
    if known.customer is None:
        return (
            f"The Checkout session {id_} has no customer: create sessions with `customer`, or customer_creation=always."
        )
    if known.user is not None:
        return f"The customer {known.customer} of the Checkout session {id_} belongs to another user."
    return (
        f"The Checkout session {id_} names no user: create sessions with the user's id as client_reference_id, or link "
        f"the customer by hand: stripe-sync link {known.customer} USER"
    )
