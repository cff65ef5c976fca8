"""Erasing a person: no personal data is left, none returns, and payments are kept."""

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from tests import factories
from tests.factories import NOW, Json, event, update
from tests.processes import eventually
from tests.sandboxes import Sandbox
from worker.inbox import store as inbox
from worker.membership.rules.access import Policy
from worker.mirror.fold import observe
from worker.postgres import cursors
from worker.privacy import erase as erasure
from worker.privacy import store as privacy_store
from worker.stripe_api.client import Stripe
from worker.stripe_api.event import ObjectRef, read_event
from worker.writers import audit, catch_up
from worker.writers.record import record

Apply = Callable[..., None]

MARK = "Qxmarker"
ADDRESS = {"line1": f"{MARK} Street 1", "city": MARK, "postal_code": f"{MARK}1", "country": "DE"}
EMAIL = f"{MARK}@example.com"
DETAILS = {"email": EMAIL, "name": f"{MARK} Rosen", "phone": f"+49 {MARK}", "address": ADDRESS}
META = {"note": MARK, "user_id": "jenny", f"{MARK}_key": "1"}
PAID = (
    "select id, role, membership_status, tokens, tokens_expires_at, stripe_product_id from users order by id",
    "select id, amount, currency, status, stripe_product_id, created_at from payment_history order by id",
    "select source_key, amount, balance_before, balance_after from sync.token_grants order by id",
    "select id, status, amount_paid, total, customer, number from stripe.invoices order by id",
    "select id, status, stripe_price_id, current_period_end from user_subscriptions order by id",
)


def marked_rows(conn: psycopg.Connection, mark: str = MARK) -> dict[str, int]:
    """The number of rows that contain the mark, by table."""
    tables = [
        row[0]
        for row in conn.execute(
            """
            select c.oid::regclass::text from pg_class as c join pg_namespace as n on n.oid = c.relnamespace
            where n.nspname in ('public', 'mirror', 'sync') and c.relkind = 'r' order by 1
            """
        )
    ]
    counts = {}
    for table in tables:
        row = conn.execute(f"select count(*) from {table} as t where t::text ilike %s", (f"%{mark}%",)).fetchone()
        if row and row[0]:
            counts[table] = row[0]
    return counts


def paid(conn: psycopg.Connection) -> list[Any]:
    return [conn.execute(query).fetchall() for query in PAID]


def erase(conn: psycopg.Connection, user: str = "jenny") -> None:
    row = conn.execute("select email from users where id = %s", (user,)).fetchone()
    assert row is not None
    erasure.erase(conn, erasure.look(conn, user=user, email=row[0]))


def person(conn: psycopg.Connection) -> None:
    """Insert Jenny's rows into the application's tables."""
    conn.execute(
        "insert into users (id, email, name, image, email_verified) values ('jenny', %s, %s, %s, now())",
        (EMAIL, f"{MARK} Rosen", f"https://{MARK}.example.com/me.png"),
    )
    conn.execute(
        """
        insert into accounts (user_id, type, provider, provider_account_id, access_token)
        values ('jenny', 'oauth', 'github', %(mark)s, %(mark)s)
        """,
        {"mark": MARK},
    )
    conn.execute("insert into sessions (user_id, session_token, expires) values ('jenny', %s, now())", (MARK,))
    conn.execute("insert into verification_tokens (identifier, token, expires) values (%s, 't', now())", (EMAIL,))


def objects() -> dict[str, Json]:
    """One object of each type that belongs to Jenny's customer, with the mark in every personal field."""
    card = {"brand": "visa", "last4": MARK, "exp_month": 8, "exp_year": 2030, "fingerprint": MARK, "funding": "credit"}
    invoice = factories.invoice(
        payments=True,
        period_end=int(time.time()),
        customer_email=EMAIL,
        customer_name=MARK,
        customer_phone=MARK,
        customer_address=ADDRESS,
        customer_shipping={"name": MARK, "address": ADDRESS},
        customer_tax_ids=[{"type": "eu_vat", "value": MARK}],
        custom_fields=[{"name": MARK, "value": MARK}],
        description=MARK,
        footer=MARK,
        metadata=META,
        hosted_invoice_url=f"https://invoice.stripe.com/i/{MARK}",
        invoice_pdf=f"https://pay.stripe.com/invoice/{MARK}/pdf",
    )
    invoice["lines"]["data"][0]["description"] = f"1 x Pro for {MARK}"
    return {
        "product": factories.product(),
        "price": factories.price(),
        "customer": factories.customer(
            user_id="jenny",
            email=EMAIL,
            name=MARK,
            description=MARK,
            phone=MARK,
            address=ADDRESS,
            shipping={"name": MARK, "phone": MARK, "address": ADDRESS},
            preferred_locales=[MARK],
        )
        | {"metadata": META},
        "payment_method": factories.payment_method(billing_details=DETAILS, card=card, metadata=META),
        "subscription": factories.subscription(metadata=META, description=MARK),
        "invoice": invoice,
        "payment_intent": factories.payment_intent(
            receipt_email=EMAIL, shipping={"name": MARK, "address": ADDRESS}, description=MARK, metadata=META
        ),
        "charge": factories.charge(
            billing_details=DETAILS,
            receipt_email=EMAIL,
            receipt_url=f"https://pay.stripe.com/{MARK}",
            payment_method_details={"type": "card", "card": card},
            metadata=META,
            description=MARK,
        ),
        "refund": factories.refund(description=MARK, destination_details={"card": {"reference": MARK}}, metadata=META),
        "dispute": factories.dispute(evidence={"customer_name": MARK, "customer_email_address": EMAIL}),
        "checkout.session": factories.checkout_session(
            client_reference_id="jenny",
            customer_details=DETAILS,
            customer_email=EMAIL,
            custom_fields=[{"key": "k", "text": {"value": MARK}}],
            collected_information={"shipping_details": {"name": MARK, "address": ADDRESS}},
            url=f"https://checkout.stripe.com/{MARK}",
            metadata=META,
        ),
        "tax_id": _of_jenny("tax_id", "txi_1", value=MARK, verification={"verified_name": MARK}),
        "brand_new_thing": _of_jenny("brand_new_thing", "bnt_1", secret_wish=MARK, amount=5),
    }


def _of_jenny(object_: str, id_: str, **more: Any) -> Json:
    return {"id": id_, "object": object_, "customer": "cus_jenny", **more}


def events(of: dict[str, Json]) -> list[Json]:
    return [event(f"{name}.updated", obj, created=NOW) for name, obj in of.items()]


def upcoming() -> Json:
    """The event of an invoice preview. No row of the mirror refers to it."""
    return event("invoice.upcoming", factories.invoice("upcoming_in_1", customer_name=MARK))


def test_no_personal_data_is_left_and_payments_are_kept(conn: psycopg.Connection, apply: Apply) -> None:
    person(conn)
    apply(*events(objects()), upcoming())
    before = paid(conn)
    assert len(marked_rows(conn)) >= 15
    assert before[0][0][1] == "PREMIUM"
    assert before[1]

    erase(conn)

    assert marked_rows(conn) == {}
    assert paid(conn) == before
    apply()  # users are computed again
    assert paid(conn) == before
    assert marked_rows(conn) == {}


def test_replaying_everything_restores_nothing_and_parks_nothing(conn: psycopg.Connection, apply: Apply) -> None:
    person(conn)
    apply(*events(objects()), upcoming())
    before = paid(conn)
    erase(conn)

    replayed = inbox.replay(conn, [row[0] for row in conn.execute("select id from sync.events")])
    apply()

    assert replayed == 14
    assert conn.execute("select distinct status from sync.events").fetchall() == [("done",)]
    assert marked_rows(conn) == {}
    assert paid(conn) == before


def test_later_objects_and_events_are_blanked_in_any_order(conn: psycopg.Connection, apply: Apply) -> None:
    person(conn)
    apply(*events(objects()))
    erase(conn)
    later = objects()
    renamed = [
        later["invoice"] | {"id": "in_2", "payment_intent": "pi_2"},
        later["charge"] | {"id": "ch_2", "payment_intent": "pi_2"},
        later["payment_intent"] | {"id": "pi_2", "latest_charge": "ch_2"},
        later["refund"] | {"id": "re_2", "charge": "ch_2", "payment_intent": "pi_2"},
        later["customer"],
        later["payment_method"] | {"customer": None},
        later["checkout.session"] | {"id": "cs_test_2", "customer": None},
        later["customer"] | {"id": "cus_second"},
    ]
    disputed = later["dispute"] | {"id": "du_2", "charge": "ch_2", "payment_intent": "pi_2"}

    apply(event("charge.dispute.created", disputed))
    assert marked_rows(conn) == {"mirror.disputes": 1, "sync.events": 1}  # its owner is not known yet
    apply(*(event(f"{obj['object']}.updated", obj, created=NOW + 60) for obj in renamed), upcoming())
    erasure.sweep(conn, should_continue=lambda: True)

    assert marked_rows(conn) == {}
    row = conn.execute("select amount_paid, data->>'customer_email' from stripe.invoices where id = 'in_2'")
    assert row.fetchone() == (2000, None)
    assert conn.execute("select amount, charge from stripe.refunds where id = 're_2'").fetchone() == (2000, "ch_2")
    assert conn.execute("select user_id from sync.customer_links where stripe_customer_id = 'cus_second'").fetchone() == (
        "jenny",
    )  # fmt: skip


def test_a_parked_event_is_blanked_and_can_still_be_replayed(conn: psycopg.Connection, apply: Apply) -> None:
    person(conn)
    apply(*events(objects()))
    erase(conn)
    apply(upcoming())
    conn.execute(
        """
        insert into sync.events (id, type, object_type, object_id, livemode, created, body, status, last_error)
        values ('evt_parked', 'customer.updated', 'customer', 'cus_jenny', false, now(), %s, 'parked', %s)
        """,
        (factories.encoded(event("customer.updated", objects()["customer"], id="evt_parked")).decode(), f"Error: {MARK}"),
    )  # fmt: skip

    blanked = erasure.sweep_parked(conn)

    assert blanked == 1
    assert marked_rows(conn) == {}
    inbox.replay(conn, ["evt_parked"])
    apply()
    assert conn.execute("select status from sync.events where id = 'evt_parked'").fetchone() == ("done",)
    assert marked_rows(conn) == {}


def test_states_read_from_the_inbox_are_blanked(conn: psycopg.Connection, apply: Apply) -> None:
    person(conn)
    apply(*events(objects()))
    erase(conn)
    first = objects()["customer"]
    second, third = first | {"balance": 1}, first | {"balance": 2}

    apply(
        update("customer.updated", second, third, id="evt_b", created=NOW + 100),
        update("customer.updated", first, second, id="evt_a", created=NOW + 100),
    )

    assert conn.execute("select balance, unsettled from stripe.customers").fetchone() == (2, False)
    assert marked_rows(conn) == {}


def test_other_people_keep_their_data(conn: psycopg.Connection, apply: Apply) -> None:
    person(conn)
    conn.execute("insert into users (id, email, name) values ('john', 'john@example.com', 'John Doe')")
    apply(*events(objects()))
    apply(
        event("customer.created", factories.customer("cus_john", user_id="john", name="John Doe")),
        event("charge.updated", factories.charge("ch_john", customer="cus_john", description="John Doe")),
    )

    erase(conn)
    # A customer belongs to the user it is linked to, even if its metadata names the erased user.
    apply(event("customer.updated", factories.customer("cus_john", user_id="jenny", name="John Doe"), created=NOW + 60))

    assert marked_rows(conn, "John Doe") == {"users": 1, "mirror.customers": 1, "mirror.charges": 1, "sync.events": 3}


def test_a_new_user_with_the_same_email_is_a_different_user(conn: psycopg.Connection, apply: Apply) -> None:
    person(conn)
    apply(*events(objects()))
    erase(conn)

    conn.execute("insert into users (id, email, email_verified) values ('new', %s, now())", (EMAIL,))
    apply(*events(objects()))

    assert conn.execute("select user_id from sync.customer_links").fetchall() == [("jenny",)]
    assert conn.execute("select role::text from users where id = 'new'").fetchone() == ("USER",)


def test_erasing_waits_for_earlier_writers_and_blanks_their_rows(
    conn: psycopg.Connection, apply: Apply, database: str
) -> None:
    person(conn)
    apply(*events(objects()))
    # A guest's session names no customer. The writer that records the session also computes the session's user.
    late = objects()["checkout.session"] | {"id": "cs_late", "customer": None}
    seen = observe(read_event(event("checkout.session.completed", late)))
    assert seen is not None
    with psycopg.connect(database, autocommit=True) as writer, psycopg.connect(database, autocommit=True) as eraser:
        thread = threading.Thread(target=erase, args=(eraser,), daemon=True)
        with writer.transaction():
            record(writer, [seen], Policy())
            thread.start()
            eventually(lambda: _somebody_waits(conn) or not thread.is_alive())
        thread.join(timeout=30)

    assert not thread.is_alive()
    assert conn.execute("select amount_total from stripe.checkout_sessions where id = 'cs_late'").fetchone() == (2000,)
    assert marked_rows(conn) == {}


def _somebody_waits(conn: psycopg.Connection) -> bool:
    return conn.execute("select from pg_locks where not granted").fetchone() is not None


def test_events_applied_during_an_erasure_leave_nothing(conn: psycopg.Connection, apply: Apply, database: str) -> None:
    person(conn)
    apply(*events(objects()))
    stop = threading.Event()
    failed: list[BaseException] = []

    def write() -> None:
        number = 0
        try:
            with psycopg.connect(database, autocommit=True) as writer:
                while not stop.is_set():
                    number += 1
                    made = [
                        objects()["invoice"] | {"id": f"in_{threading.get_ident()}_{number}"},
                        objects()["customer"] | {"balance": number},
                        objects()["charge"] | {"id": f"ch_{threading.get_ident()}_{number}"},
                    ]
                    shown = [event(f"{o['object']}.updated", o, created=NOW + number) for o in made]
                    seen = [each for one in shown if (each := observe(read_event(one))) is not None]
                    try:
                        with writer.transaction():
                            record(writer, seen, Policy())
                    except psycopg.errors.DeadlockDetected:
                        continue
        except BaseException as error:  # noqa: BLE001 - shown below
            failed.append(error)

    threads = [threading.Thread(target=write, daemon=True) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        eventually(lambda: failed or count(conn) > 20)
        erase(conn)
        then = count(conn)
        eventually(lambda: failed or count(conn) > then + 20)
    finally:
        stop.set()
        for thread in threads:
            thread.join(timeout=30)

    assert failed == []
    assert marked_rows(conn) == {}


def count(conn: psycopg.Connection) -> int:
    row = conn.execute("select count(*) from stripe.invoices").fetchone()
    return int(row[0]) if row else 0


def test_an_interrupted_sweep_is_continued(conn: psycopg.Connection, apply: Apply) -> None:
    person(conn)
    apply(*events(objects()), upcoming())
    privacy_store.add_person(conn, "jenny", {ObjectRef("customer", "cus_jenny")})
    privacy_store.blank_user(conn, "jenny", EMAIL)
    answers = iter([True, True, False])

    erasure.sweep(conn, should_continue=lambda: next(answers))
    half = (marked_rows(conn), cursors.read(conn, erasure.CURSOR))
    erasure.sweep(conn, should_continue=lambda: True)
    apply()

    assert half[0]
    assert half[1] is not None
    assert marked_rows(conn) == {}
    assert conn.execute("select count(*) from sync.erased where swept_at is null").fetchone() == (0,)


@pytest.fixture
def subscribed(conn: psycopg.Connection, sandbox: Sandbox, stripe: Stripe) -> Stripe:
    person(conn)
    now = int(time.time())
    cursors.save(conn, catch_up.CURSOR, now - 1800)
    # The sign-up happened long enough ago that a read is certainly newer than all of its events.
    sandbox.tell("clock", now=now - 1200)
    sandbox.tell("stories/sign_up", user_id="jenny", email=EMAIL, name=f"{MARK} Rosen")
    sandbox.tell("clock", real=True)
    return stripe


def read_all(conn: psycopg.Connection, stripe: Stripe, *, hour: int) -> dict[str, int]:
    slot = datetime(2026, 11, 22, 12, tzinfo=UTC) + timedelta(hours=hour)
    conn.execute("delete from sync.runs")
    audit.restart(conn)
    tally = audit.tick(conn, lambda: stripe, Policy(), slot, should_continue=lambda: True)
    assert tally is not None
    return tally


def test_audit_and_catch_up_restore_nothing(
    conn: psycopg.Connection, sandbox: Sandbox, subscribed: Stripe, apply: Apply
) -> None:
    read_all(conn, subscribed, hour=0)
    before = paid(conn)
    assert before[0][0][1] == "PREMIUM"
    erase(conn)

    first = read_all(conn, subscribed, hour=1)
    caught = catch_up.tick(
        conn,
        lambda: subscribed,
        datetime.now(UTC),
        now=int(time.time()) + catch_up.DELAY_SECONDS + 1,
        should_continue=lambda: True,
    )
    assert caught is not None
    apply()
    second = read_all(conn, subscribed, hour=2)

    assert marked_rows(conn) == {}
    assert paid(conn) == before
    assert caught.lost > 5
    assert (first["repaired"], first["unchanged"]) == (0, first["listed"])
    assert (second["repaired"], second["unchanged"]) == (0, second["listed"])
    assert conn.execute("select count(*) from sync.drift").fetchone() == (0,)


def test_the_next_payment_of_an_erased_customer_grants_and_is_blanked(
    conn: psycopg.Connection, sandbox: Sandbox, subscribed: Stripe
) -> None:
    read_all(conn, subscribed, hour=0)
    erase(conn)
    (customer,) = conn.execute("select id from stripe.customers").fetchone() or [""]
    sandbox.post(f"/v1/customers/{customer}", name=f"{MARK} again")
    sandbox.tell("stories/renewal", user_id="jenny")
    read_all(conn, subscribed, hour=1)

    assert marked_rows(conn) == {}
    # Depending on the hour, there is also a row of 0 tokens that extends the expiry.
    assert conn.execute("select count(*) from sync.token_grants where amount > 0").fetchone() == (2,)
