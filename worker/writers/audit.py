"""The rolling audit: all that is mirrored and that Stripe lists is read again, a few pages a tick, round and round.

It finds what nothing else told of. Each page goes through the guarded write; what it repaired is in `sync.drift`.
"""

from collections.abc import Callable
from dataclasses import asdict
from datetime import datetime

import psycopg

from worker.config.errors import Permanent, Temporary
from worker.membership.rules.access import Policy
from worker.observe import log
from worker.postgres import cursors, runs
from worker.stripe_api.client import MissingPermission
from worker.writers.list_pass import Listing, Place, Source, Tally, pass_over

_log = log.get("audit")

JOB = "audit"
CURSOR = "audit"
PAGES_PER_TICK = 20

# Parents before children, so that a first pass finds what it refers to. Payment methods can't be listed in whole.
LISTS = (
    Listing(object="product", path="/v1/products"),
    Listing(object="price", path="/v1/prices"),
    Listing(object="plan", path="/v1/plans"),
    Listing(object="coupon", path="/v1/coupons"),
    Listing(object="customer", path="/v1/customers"),
    Listing(object="subscription", path="/v1/subscriptions", params={"status": "all"}),
    Listing(object="invoice", path="/v1/invoices"),
    Listing(object="invoice_payment", path="/v1/invoice_payments"),
    Listing(object="payment_intent", path="/v1/payment_intents"),
    Listing(object="charge", path="/v1/charges"),
    Listing(object="refund", path="/v1/refunds"),
    Listing(object="dispute", path="/v1/disputes"),
    Listing(object="checkout.session", path="/v1/checkout/sessions"),
)


def tick(
    conn: psycopg.Connection, stripe: Callable[[], Source], policy: Policy, slot: datetime, *, go_on: Callable[[], bool]
) -> Tally | None:
    """A few pages more, from where the last tick ended; None where somebody else has the slot, or where it failed."""
    run = runs.claim(conn, JOB, slot)
    if run is None:
        return None
    tally = Tally()
    try:
        _read_on(conn, stripe(), policy, tally, run, go_on=go_on)
    except (Temporary, Permanent) as error:
        runs.fail(conn, run, tally.as_dict(), str(error))
        _log.warning("audit.interrupted", error=str(error), **error.ids)
        return None
    except Exception as error:
        runs.fail(conn, run, tally.as_dict(), type(error).__name__)
        raise
    runs.finish(conn, run, tally.as_dict())
    _log.info("audit.went_on", **tally.as_dict())
    return tally


def begin_anew(conn: psycopg.Connection) -> None:
    """Read everything from the beginning, and without a pause until the round is done: something was lost for good."""
    cursors.save(conn, CURSOR, {"list": 0, "place": None, "hurried": len(LISTS)})


def is_hurried(conn: psycopg.Connection) -> bool:
    """Whether a round is under way that is not to wait for the clock."""
    stands = cursors.read(conn, CURSOR)
    return stands is not None and stands.get("hurried", 0) > 0


def _read_on(
    conn: psycopg.Connection, stripe: Source, policy: Policy, tally: Tally, run: int, *, go_on: Callable[[], bool]
) -> None:
    pages = 0

    def after_page(place: Place) -> bool:
        nonlocal pages
        pages += 1
        cursors.save(conn, CURSOR, {"list": number, "place": asdict(place), "hurried": hurried})
        runs.seen(conn, run, tally.as_dict())
        return go_on() and (hurried > 0 or pages < PAGES_PER_TICK)

    stands = cursors.read(conn, CURSOR) or {"list": 0, "place": None}
    hurried = stands.get("hurried", 0)
    for _ in LISTS:
        number = stands["list"] % len(LISTS)
        place = Place(**stands["place"]) if stands["place"] else None
        try:
            if pass_over(conn, stripe, LISTS[number], policy, tally, place=place, after_page=after_page) is not None:
                return
        except MissingPermission as error:
            _log.error("permission.missing", error=str(error), **error.ids)
        pages += 1
        hurried = max(hurried - 1, 0)
        stands = {"list": number + 1, "place": None, "hurried": hurried}
        cursors.save(conn, CURSOR, stands)
        if not go_on() or (hurried == 0 and pages >= PAGES_PER_TICK):
            return
