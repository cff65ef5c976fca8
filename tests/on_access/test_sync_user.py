"""Reading a user from Stripe repairs lost deliveries and makes the stored answer fresh. One process at a time reads a user."""

import contextlib
import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import psycopg
import pytest

from tests.draining import read_lists
from tests.factories import Json, customer, event, subscription
from tests.processes import eventually
from tests.sandboxes import Sandbox
from worker.config.errors import Temporary
from worker.membership.rules.access import Policy
from worker.on_access import store as access_store
from worker.on_access import sync_user
from worker.on_access.freshness import Stored
from worker.on_access.sync_user import NoSuchUser, NotTheirs
from worker.stripe_api.client import Stripe
from worker.writers import refresh_catalogue
from worker.writers.list_pass import Tally

Apply = Callable[..., None]
LIST = "GET /v1/subscriptions"


@pytest.fixture(autouse=True)
def _jenny(conn: psycopg.Connection) -> None:
    conn.execute("insert into users (id, email) values ('jenny', 'jenny@example.com')")


def stored(conn: psycopg.Connection, user: str = "jenny") -> Stored:
    return sync_user.stored(lambda: contextlib.nullcontext(conn), user, Policy())


def force(conn: psycopg.Connection, stripe: Stripe, user: str = "jenny", **more: Any) -> Tally | None:
    return sync_user.force(lambda: contextlib.nullcontext(conn), lambda: stripe, Policy(), user, seconds=30, **more)


def ask(database: str, stripe: Stripe, since: datetime, *, seconds: float = 30) -> Tally | None:
    """Read the user from Stripe on a separate connection, as another process does."""
    with psycopg.connect(database, autocommit=True) as mine:
        return sync_user.bring_up(
            lambda: contextlib.nullcontext(mine), lambda: stripe, Policy(), "jenny", since=since, seconds=seconds
        )


def refreshed(conn: psycopg.Connection, stripe: Stripe) -> None:
    read_lists(conn, stripe, refresh_catalogue.CATALOGUE)


def signed_up(conn: psycopg.Connection, sandbox: Sandbox, stripe: Stripe, **more: Any) -> Json:
    """Let Jenny pay while every delivery is lost. The application knows her customer."""
    ids: Json = sandbox.tell("stories/sign_up", user_id="jenny", email="jenny@example.com", **more)["ids"]
    refreshed(conn, stripe)
    conn.execute("insert into stripe_customers (user_id, stripe_customer_id) values ('jenny', %s)", (ids["customer"],))
    return ids


def requests(sandbox: Sandbox) -> dict[str, int]:
    """The number of requests by operation."""
    asked: dict[str, int] = sandbox.ask("stats")["requests"]
    return asked


def test_a_user_whose_deliveries_were_all_lost_is_premium_after_one_read(
    conn: psycopg.Connection, sandbox: Sandbox, stripe: Stripe
) -> None:
    ids = signed_up(conn, sandbox, stripe)
    before = stored(conn)

    tally = force(conn, stripe)

    now = stored(conn)
    assert (before.has_access, before.is_fresh(before.since(3600))) == (False, False)
    assert tally is not None
    assert tally.written == 1
    assert now.has_access
    assert now.tokens == 5000
    assert now.product is not None
    assert now.product["id"] == ids["product"]
    assert now.subscription is not None
    assert (now.subscription["id"], now.subscription["status"]) == (ids["subscription"], "active")
    assert now.is_fresh(before.now)


def test_a_lost_cancellation_is_found_and_recorded_as_drift(
    conn: psycopg.Connection, sandbox: Sandbox, stripe: Stripe
) -> None:
    ids = signed_up(conn, sandbox, stripe)
    force(conn, stripe)
    sandbox.tell("clock", advance=60)
    sandbox.delete(f"/v1/subscriptions/{ids['subscription']}")

    tally = force(conn, stripe)

    assert tally is not None
    assert tally.repaired == 1
    assert not stored(conn).has_access
    assert stored(conn).subscription is None
    assert conn.execute("select object_id, found_by from sync.drift").fetchall() == [
        (ids["subscription"], "list of /v1/subscriptions")
    ]


def test_an_invoice_mirrored_as_paid_is_not_read_again(
    conn: psycopg.Connection, sandbox: Sandbox, stripe: Stripe
) -> None:
    signed_up(conn, sandbox, stripe)
    force(conn, stripe)
    before = requests(sandbox)

    force(conn, stripe)

    after = requests(sandbox)
    assert {name: number - before.get(name, 0) for name, number in after.items() if number != before.get(name, 0)} == {
        LIST: 1
    }


def test_all_customers_of_a_user_are_read(conn: psycopg.Connection, sandbox: Sandbox, stripe: Stripe) -> None:
    ids = sandbox.tell("stories/several_customers", user_id="jenny", count=3)["ids"]
    refreshed(conn, stripe)
    for id_ in ids["customers"]:
        conn.execute(
            "insert into sync.customer_links (stripe_customer_id, user_id, source, linked_at) "
            "values (%s, 'jenny', 'operator', now())",
            (id_,),
        )

    force(conn, stripe)

    assert requests(sandbox)[LIST] == 3
    assert stored(conn).has_access


def test_the_customer_that_pays_for_the_user_s_organization_is_read_too(
    conn: psycopg.Connection, sandbox: Sandbox, stripe: Stripe, apply: Apply
) -> None:
    conn.execute("insert into organizations (id, name) values ('acme', 'Acme')")
    conn.execute("update users set organization_id = 'acme'")
    ids = sandbox.tell("stories/sign_up", user_id="boss")["ids"]
    sandbox.post(f"/v1/subscriptions/{ids['subscription']}", **{"metadata[organization_id]": "acme"})
    sandbox.tell("clock", advance=60)
    refreshed(conn, stripe)
    apply(event("customer.subscription.created", sandbox.get(f"/v1/subscriptions/{ids['subscription']}")))
    paid = stored(conn)
    sandbox.delete(f"/v1/subscriptions/{ids['subscription']}")

    force(conn, stripe)

    current = stored(conn)
    assert (paid.has_access, paid.is_fresh(paid.since(3600))) == (True, False)
    assert (current.has_access, current.membership_status, current.is_fresh(paid.now)) == (False, "CANCELED", True)


def test_a_user_without_a_linked_customer_keeps_the_application_s_role(
    conn: psycopg.Connection, stripe: Stripe
) -> None:
    conn.execute("update users set role = 'PREMIUM'")

    force(conn, stripe)

    assert stored(conn).has_access


def test_linking_a_customer_later_makes_the_answer_stale(
    conn: psycopg.Connection, database: str, sandbox: Sandbox, stripe: Stripe
) -> None:
    signed_up(conn, sandbox, stripe)
    force(conn, stripe)
    fresh = stored(conn)

    conn.execute(
        "insert into sync.customer_links (stripe_customer_id, user_id, source, linked_at) "
        "values ('cus_late', 'jenny', 'operator', now())"
    )

    later = stored(conn)
    ask(database, stripe, later.since(3600))
    assert fresh.is_fresh(fresh.since(3600))
    assert not later.is_fresh(later.since(3600))
    assert stored(conn).is_fresh(later.since(3600))


def test_a_customer_linked_during_a_read_makes_the_answer_stale(
    conn: psycopg.Connection, sandbox: Sandbox, stripe: Stripe
) -> None:
    ids = signed_up(conn, sandbox, stripe)
    force(conn, stripe)
    asked_at, asked = access_store.customers(conn, "jenny")
    conn.execute(
        "insert into sync.customer_links (stripe_customer_id, user_id, source, linked_at) "
        "values ('cus_late', 'jenny', 'operator', now() - interval '1 minute')"
    )

    kept = access_store.finish(conn, "jenny", asked_at=asked_at, asked=list(asked))

    assert list(asked) == [ids["customer"]]
    assert not kept


def test_a_user_without_a_customer_is_fresh_without_a_request(
    conn: psycopg.Connection, sandbox: Sandbox, stripe: Stripe
) -> None:
    force(conn, stripe)

    current = stored(conn)
    assert current.is_fresh(current.now)
    assert current.synced_at is not None
    assert requests(sandbox) == {}


def test_a_customer_with_the_user_s_verified_address_is_linked(
    conn: psycopg.Connection, sandbox: Sandbox, stripe: Stripe
) -> None:
    conn.execute("update users set email_verified = now()")
    sandbox.tell("stories/sign_up", user_id="jenny", email="jenny@example.com", link="email")
    refreshed(conn, stripe)

    force(conn, stripe)

    assert stored(conn).has_access
    assert conn.execute("select source from sync.customer_links").fetchall() == [("email",)]


def test_customers_are_not_searched_by_an_unverified_address(
    conn: psycopg.Connection, sandbox: Sandbox, stripe: Stripe
) -> None:
    sandbox.tell("stories/sign_up", user_id="jenny", email="jenny@example.com", link="email")

    force(conn, stripe)

    assert requests(sandbox) == {}
    assert not stored(conn).has_access


def test_a_checkout_session_links_a_new_customer_and_grants_what_was_paid_for(
    conn: psycopg.Connection, sandbox: Sandbox, stripe: Stripe
) -> None:
    ids = sandbox.tell("stories/sign_up", user_id="jenny", link="session")["ids"]
    refreshed(conn, stripe)

    force(conn, stripe, checkout_session=ids["checkout_session"])

    current = stored(conn)
    assert current.has_access
    assert current.tokens == 5000
    # The subscription was read before its invoice, so the tokens expire a day after the subscription's period.
    assert current.subscription is not None
    assert current.tokens_expires_at == current.subscription["current_period_end"] + timedelta(days=1)
    assert conn.execute("select stripe_customer_id, user_id, source from sync.customer_links").fetchall() == [
        (ids["customer"], "jenny", "client_reference_id")
    ]
    assert conn.execute("select id from stripe.customers").fetchall() == [(ids["customer"],)]


def test_a_user_named_by_the_customer_takes_precedence_over_the_session(
    conn: psycopg.Connection, sandbox: Sandbox, stripe: Stripe
) -> None:
    conn.execute("insert into users (id) values ('john')")
    ids = sandbox.tell("stories/sign_up", user_id="jenny", link="session")["ids"]
    sandbox.post(f"/v1/customers/{ids['customer']}", **{"metadata[user_id]": "john"})

    with pytest.raises(NotTheirs, match="another user"):
        force(conn, stripe, checkout_session=ids["checkout_session"])

    assert conn.execute("select user_id from sync.customer_links").fetchall() == [("john",)]


def test_a_pack_bought_without_an_invoice_is_granted_after_the_redirect(
    conn: psycopg.Connection, sandbox: Sandbox, stripe: Stripe
) -> None:
    ids = sandbox.tell("stories/token_pack", user_id="jenny", quantity=2)["ids"]
    refreshed(conn, stripe)

    force(conn, stripe, checkout_session=ids["checkout_session"])

    assert stored(conn).tokens == 1000


def test_another_user_s_session_links_no_customer(conn: psycopg.Connection, sandbox: Sandbox, stripe: Stripe) -> None:
    conn.execute("insert into users (id) values ('john')")
    johns = sandbox.tell("stories/sign_up", user_id="john", link="session")["ids"]["checkout_session"]
    nobodys = sandbox.tell("stories/sign_up", user_id="who", link="email")["ids"]["checkout_session"]
    price = sandbox.get("/v1/prices")["data"][-1]["id"]
    line = {"line_items[0][price]": price, "line_items[0][quantity]": "1"}
    unpaid = sandbox.post("/v1/checkout/sessions", mode="subscription", success_url="https://example.com", **line)["id"]

    for session, says in (
        (johns, "another user"),
        (nobodys, "client_reference_id"),
        (unpaid, "not complete"),
        ("cs_test_nothing", "no Checkout session"),
    ):
        with pytest.raises(NotTheirs, match=says):
            force(conn, stripe, checkout_session=session)

    assert conn.execute("select user_id from sync.customer_links where user_id = 'jenny'").fetchall() == []
    assert not stored(conn).has_access
    assert conn.execute("select leased_until from sync.user_syncs").fetchall() == [(None,)]


def test_an_unknown_user_is_reported(conn: psycopg.Connection, stripe: Stripe) -> None:
    with pytest.raises(NoSuchUser, match="nobody"):
        force(conn, stripe, "nobody")


def test_concurrent_reads_of_a_user_cause_one_request(
    conn: psycopg.Connection, database: str, sandbox: Sandbox, stripe: Stripe
) -> None:
    signed_up(conn, sandbox, stripe)
    sandbox.tell("faults", operation=LIST, slow_seconds=0.5)
    since = stored(conn).since(60)
    tallies: list[Tally | None] = []

    askers = [threading.Thread(target=lambda: tallies.append(ask(database, stripe, since))) for _ in range(4)]
    for asker in askers:
        asker.start()
    for asker in askers:
        asker.join()

    assert requests(sandbox)[LIST] == 1
    assert [tally for tally in tallies if tally is None] == [None] * 3
    assert stored(conn).has_access


def test_a_forced_sync_does_not_share_an_earlier_read(
    conn: psycopg.Connection, database: str, sandbox: Sandbox, stripe: Stripe
) -> None:
    signed_up(conn, sandbox, stripe)
    sandbox.tell("faults", operation=LIST, slow_seconds=0.5, requests=1)
    first = threading.Thread(target=partial(ask, database, stripe, stored(conn).now))
    first.start()
    eventually(lambda: requests(sandbox).get(LIST))

    ask(database, stripe, stored(conn).now)
    first.join()

    assert requests(sandbox)[LIST] == 2


def test_the_lease_of_a_dead_holder_expires(
    conn: psycopg.Connection, database: str, sandbox: Sandbox, stripe: Stripe
) -> None:
    signed_up(conn, sandbox, stripe)
    since = stored(conn).now
    access_store.claim(conn, "jenny", since=since, seconds=3600)

    with pytest.raises(Temporary, match="another worker"):
        ask(database, stripe, since, seconds=0.1)
    conn.execute("update sync.user_syncs set leased_until = clock_timestamp()")
    ask(database, stripe, since)

    assert stored(conn).is_fresh(since)


def test_a_failed_read_changes_no_table_and_releases_the_lease(
    conn: psycopg.Connection, sandbox: Sandbox, stripe: Stripe
) -> None:
    signed_up(conn, sandbox, stripe)
    sandbox.tell("faults", operation=LIST, rate500=1.0)

    with pytest.raises(Temporary):
        force(conn, stripe)

    current = stored(conn)
    assert current.synced_at is None
    assert conn.execute("select leased_until from sync.user_syncs").fetchall() == [(None,)]


def test_a_read_that_does_not_settle_the_subscription_leaves_the_answer_stale(
    conn: psycopg.Connection, sandbox: Sandbox, stripe: Stripe, apply: Apply
) -> None:
    ids = signed_up(conn, sandbox, stripe)
    now = int(sandbox.ask("clock")["now"])
    shown = sandbox.get(f"/v1/subscriptions/{ids['subscription']}")
    apply(event("customer.subscription.updated", shown | {"description": "later"}, created=now + 3))

    force(conn, stripe)

    current = stored(conn)
    assert not current.is_fresh(current.since(3600))
    assert conn.execute("select unsettled from stripe.subscriptions").fetchall() == [(True,)]


def test_a_subscription_missing_from_the_list_is_read(
    conn: psycopg.Connection, sandbox: Sandbox, stripe: Stripe, apply: Apply
) -> None:
    ids = signed_up(conn, sandbox, stripe)
    apply(event("customer.created", customer(ids["customer"])))
    apply(event("customer.subscription.created", subscription("sub_gone", customer=ids["customer"])))

    force(conn, stripe)

    assert conn.execute("select id, deleted from stripe.subscriptions order by deleted").fetchall() == [
        (ids["subscription"], False),
        ("sub_gone", True),
    ]


def test_a_product_that_is_not_mirrored_yet_is_read_with_its_features(
    conn: psycopg.Connection, sandbox: Sandbox, stripe: Stripe
) -> None:
    ids = sandbox.tell("stories/sign_up", user_id="jenny")["ids"]
    sandbox.post(f"/v1/products/{ids['product']}", **{"metadata[role]": "USER", "metadata[tokens]": "12"})
    conn.execute("insert into stripe_customers (user_id, stripe_customer_id) values ('jenny', %s)", (ids["customer"],))

    force(conn, stripe)

    current = stored(conn)
    assert (current.has_access, current.tokens) == (False, 12)
    assert current.product is not None
    assert current.product["name"] == "Pro"


def test_a_long_list_of_items_is_read_to_its_end(conn: psycopg.Connection, sandbox: Sandbox, stripe: Stripe) -> None:
    ids = sandbox.tell("stories/many_items", user_id="jenny", count=12)["ids"]
    refreshed(conn, stripe)
    conn.execute("insert into stripe_customers (user_id, stripe_customer_id) values ('jenny', %s)", (ids["customer"],))

    force(conn, stripe)

    assert conn.execute("select count(*) from stripe.subscription_items where not deleted").fetchone() == (12,)
    assert stored(conn).has_access


def test_an_expired_override_gives_no_access_even_before_the_recompute(conn: psycopg.Connection) -> None:
    conn.execute("update users set role = 'PREMIUM'")
    conn.execute(
        "insert into sync.overrides (user_id, role, until) values ('jenny', 'PREMIUM', now() - interval '1 second')"
    )
    conn.execute("insert into sync.next_changes (user_id, due_at) values ('jenny', now() - interval '1 second')")

    assert not stored(conn).has_access


def test_expired_tokens_read_as_zero_and_banned_users_have_no_access(conn: psycopg.Connection) -> None:
    conn.execute("update users set tokens = 9, tokens_expires_at = now() - interval '1 hour', role = 'BANNED'")

    current = stored(conn)

    assert (current.tokens, current.has_access) == (0, False)


def test_the_age_of_an_answer_counts_from_the_request_to_stripe(
    conn: psycopg.Connection, sandbox: Sandbox, stripe: Stripe
) -> None:
    signed_up(conn, sandbox, stripe)
    force(conn, stripe)
    conn.execute("update sync.user_syncs set synced_at = synced_at - interval '1 minute'")
    conn.execute("update sync.customer_links set linked_at = linked_at - interval '1 hour'")

    current = stored(conn)

    assert current.is_fresh(current.since(90))
    assert not current.is_fresh(current.since(30))
    assert current.is_fresh(current.since(1e300))
