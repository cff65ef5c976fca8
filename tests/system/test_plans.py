"""No pass, tick or batch scans a whole table that grows with the account. The plan of each statement is checked."""

import contextlib
import time
import urllib.error
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import msgspec
import psycopg
import pytest
from celery import Celery
from pydantic import SecretStr

from tests import plans, sandboxes
from tests.plans import Plans
from tests.sandboxes import Sandbox
from worker.config.settings import Settings
from worker.inbox import secrets as inbox_secrets
from worker.inbox import store as inbox
from worker.jobs import chores, process, tasks
from worker.membership import compute, organizations, recompute_all
from worker.membership.delivery import store as changes
from worker.membership.rules.access import Policy
from worker.membership.store import computed_users, organization_queue, product_changes
from worker.mirror import absences, accounts, movements, refetch_queue, shards
from worker.mirror import store as mirror
from worker.mirror.absences import Absence
from worker.mirror.refetch_queue import Ask
from worker.postgres import cursors
from worker.privacy import store as privacy
from worker.stripe_api.client import Stripe
from worker.stripe_api.envelope import read_envelope
from worker.stripe_api.event import ObjectRef
from worker.stripe_api.lists import LISTS
from worker.writers import backfill, catch_up, refetch
from worker.writers.apply import Applier, compute_waiting

# Objects that exist only in the mirror were created between these times.
OLDEST, NEWEST = (int(datetime(year, 1, 1, tzinfo=UTC).timestamp()) for year in (2013, 2024))

# These tasks read whole tables on purpose. `backup` runs pg_dump. `membership_apply` computes every user when an operator
# requests it. `revenue` reads all subscriptions, and is busy for at most 1 % of the time.
NOT_RUN = {"stripe_sync.backup", "stripe_sync.membership_apply", "stripe_sync.revenue"}
ARGUMENTS = {"stripe_sync.sync_user": ("ada",), "stripe_sync.sync_object": ("prod_none",)}
PLANTED = {
    "a table without an index for it": "select id from mirror.customers where data ->> 'name' = 'x'",
    "a range whose lower end may be open": (
        "select id from mirror.invoices where account = '' and (null::bigint is null or created > to_timestamp(null))"
    ),
    "a whole index": "select count(*) from (select id from mirror.charges order by id) as c",
    "an update of a column": "update sync.events set last_error = null where type = 'x'",
    "the largest of a column": "select max(updated_at) from users",
}


def test_no_statement_scans_a_whole_growing_table(
    settings: Settings, database: str, sandbox: Sandbox, stripe: Stripe, monkeypatch: pytest.MonkeyPatch
) -> None:
    users = tell_every_story(sandbox)
    with psycopg.connect(database, autocommit=True) as conn:
        plans.fill(conn)
        conn.execute(
            "insert into users (id, email) select id, id || '@example.com' from unnest(%s::text[]) as id", [users]
        )
    begin_with_two_spans(monkeypatch)
    # Do not analyze: statistics of the real rows would replace the simulated ones.
    monkeypatch.setattr(mirror, "analyze", lambda conn: None)

    seen = Plans(database)
    with seen.connect() as conn:
        monkeypatch.setattr(process, "connect", lambda settings, application: conn)
        do_everything(conn, settings, stripe)
        do_what_no_story_causes(conn)
        run_every_task(conn, settings, sandbox)
        missed = [what for what, statement in PLANTED.items() if not seen.fault_of(conn, statement)]

    assert "\n\n".join(seen.faults.values()) == ""
    assert missed == []
    assert len(seen.seen) > 150


def tell_every_story(sandbox: Sandbox) -> list[str]:
    """Play every story of the sandbox, and return the users."""
    names = [story["story"] for story in sandbox.ask("")["stories"]]
    for name in names:
        # A story that continues another story is refused.
        with contextlib.suppress(urllib.error.HTTPError):
            sandbox.tell(f"stories/{name}", user_id=f"user_of_{name}")
    sandbox.tell("stories/sign_up", user_id="ada")
    for story in ("renewal", "refund", "dispute", "credit_note", "upgrade", "seats", "past_due", "cancel"):
        with contextlib.suppress(urllib.error.HTTPError):
            sandbox.tell(f"stories/{story}", user_id="ada")
    return ["ada", *(f"user_of_{name}" for name in names)]


def do_everything(conn: psycopg.Connection, settings: Settings, stripe: Stripe) -> None:
    """Run each pass and batch once."""
    policy = Policy()
    events = stripe.page("/v1/events").data
    inbox.store(conn, [read_envelope(msgspec.json.encode(event).decode()) for event in events])
    Applier(livemode=False, policy=policy, has_key=True).drain(conn)
    Applier(livemode=False, policy=policy, has_key=False).drain(conn)
    compute_waiting(conn, policy)
    organizations.compute_waiting(conn, policy, should_continue=lambda: True)
    with conn.transaction():
        compute.compute(conn, computed_users.after(conn, "", limit=recompute_all.BATCH), policy, concerned_only=True)
    with psycopg.connect(settings.database_url, autocommit=True) as other:
        other.execute("update sync.refetch_queue set due_at = now() where id not like 'refetch%'")
    refetch.drain(conn, stripe, policy, should_continue=lambda: True)

    backfill.start(conn, list(LISTS))
    few = replace(backfill.OPTIONS, pages=150)
    backfill.carry_on(conn, lambda: stripe, policy, options=few, should_continue=lambda: True)
    backfill.progress(conn)
    backfill.stop(conn)
    backfill.carry_on(conn, lambda: stripe, policy, should_continue=lambda: True)
    for table, field in (("payment_method", "customer"), ("subscription", None)):
        parent = None if field is None else (field, "customer_1")
        upto = None if field is not None else OLDEST
        absences.expected(conn, table, account="", before=NEWEST, upto=upto, parent=parent)


def run_every_task(conn: psycopg.Connection, settings: Settings, sandbox: Sandbox) -> None:
    """Run each task of a worker and each chore once. Create work for those that would otherwise find nothing to do."""
    key, base = SecretStr(sandboxes.KEY), sandbox.address
    settings = settings.model_copy(update={"stripe_secret_key": key, "stripe_api_base": base, "connect": True})
    sandbox.tell("accounts", connect=["acct_one"])
    cursors.save(conn, catch_up.CURSOR, int(time.time()) - 3_600)
    with psycopg.connect(settings.database_url, autocommit=True) as other:
        other.execute("insert into sync.erased (object, id, user_id) values ('customer', 'customer_7', 'user_7')")
        other.execute("insert into sync.webhook_secrets (id, account) values ('secret_1', '')")
        other.execute("insert into mirror.movements_due (customer) values ('customer_8')")
        other.execute("insert into sync.product_changes (product_id, noted_at) values ('product_3', now())")
        other.execute("insert into sync.organization_queue (organization_id) values ('organization_4')")
        row = other.execute(
            "select customer from mirror.subscriptions where status = 'active' and id like 'sub\\_%'"
        ).fetchone()
        assert row is not None
    # No event of this deletion is delivered, so the mirror has objects that the lists of customers and subscriptions lack.
    sandbox.delete(f"/v1/customers/{row[0]}")
    sandbox.tell("clock", advance=60)
    app = Celery("test", broker="memory://", set_as_current=False)
    worker = tasks.register(app, settings)
    for name, task in sorted(app.tasks.items()):
        if name.startswith("stripe_sync.") and name not in NOT_RUN:
            task(*ARGUMENTS.get(name, ()))
    movements.compute_due(conn)
    # `wake` runs the chores too, but does not report which of them failed.
    for chore in chores.CHORES:
        chore(conn, worker)


def do_what_no_story_causes(conn: psycopg.Connection) -> None:
    """Send the statements of workers and of the sender that failures and rare events cause."""
    second, pause = int(time.time()), timedelta(minutes=1)
    inbox.retry(conn, "event_1", error="x", pause=pause)
    inbox.release(conn, "event_2", error="x", pause=pause)
    inbox.park(conn, "event_3", error="x")
    inbox.replace_bodies(conn, {"event_4": "{}"})
    inbox.newest_bursts(conn, [ObjectRef("customer", "object_5")], livemode=False, pause_seconds=60, most=10)
    for verdict in (inbox_secrets.OURS, inbox_secrets.FOREIGN):
        inbox_secrets.judge(conn, "secret_1", verdict, "x")

    asked = Ask("customer", "refetch_queue_1", "", "/v1/customers/x", datetime.now(UTC), 1, None)
    for ask in (asked, replace(asked, object="tax_id")):
        assert not refetch_queue.is_answered(conn, ask)
    refetch_queue.put_off(conn, asked, seconds=60)
    refetch_queue.remember(conn, asked, missing_again_after=60)
    refetch_queue.done(conn, asked)
    customer, transaction = replace(asked, id="customer_1"), replace(asked, object="balance_transaction", id="object_1")
    mirror.doubt(conn, [(customer.key, second), (transaction.key, second)])
    accounts.deauthorize(conn, "acct_1")

    run, _ = shards.begin(conn, "a job", {})
    shards.add(conn, run, [("customers", None, None)])
    (shard,) = shards.lease(conn, run, {"customers": 1}, owner="us", limit=1)
    shards.save(conn, shard.id, {"down_to": second, "span": 1}, {}, owner="us")
    assert shards.split(conn, run, {"customers": 1}, limit=1) == 1
    shards.count(conn, run, "customers", {"found": 1})
    shards.fail(conn, run, "customers", "x")
    absent = [Absence("payment_methods", "payment_method", "payment_method_1", "", 1, None)]
    absences.add(conn, run, "payment_methods", "payment_method", "", [("payment_method_1", 1)])
    absences.parents_of(conn, "payment_method", "customer", absent)
    absences.drop(conn, run, absent)
    absences.drop_list(conn, run, "payment_methods")
    absences.count(conn, "subscription", account="", final=("canceled",), most=10_000)
    for object_, parent in (("customer", None), ("payment_method", "customer"), ("tax_id", "parent")):
        absences.count(conn, object_, account="", parent=parent, most=10_000)

    # `receiver_is_back` is not here: it makes all changes due that wait after a failure, once for each end of an outage.
    conn.execute("update sync.change_deliveries set due_at = now() where change_id = 1")
    changes.enqueue(conn)
    leased = changes.lease(conn, users=1, each=1, seconds=60)
    (change,) = next(iter(leased.values()))
    changes.attempts(conn, change.id)
    changes.fail(conn, change, "x", pause=pause)
    changes.acknowledge(conn, [change.id])

    organization_queue.request(conn, ["organization_id_1"])
    organization_queue.put_back(conn, "organization_id_1")
    organization_queue.offered_to(conn, ["customer_1"])
    organization_queue.remember_members(conn, {"user_1": "organization_id_1"})
    product_changes.differing(conn, ["product_1"])
    product_changes.note(conn, ["product_1"])
    product_changes.unread(conn, ["product_1"])
    privacy.customers_of(conn, "user_1", "user_1@example.com")
    privacy.guest_sessions(conn, "user_1", "user_1@example.com")
    privacy.linked_otherwise(conn, [("customer_1", "user_1")])


def begin_with_two_spans(monkeypatch: pytest.MonkeyPatch) -> None:
    """Read each list in two spans, before and after the gap in which only the mirror has objects."""
    add = shards.add

    def add_two(conn: psycopg.Connection, run: int, spans: Sequence[tuple[str, int | None, int | None]]) -> None:
        cut: list[tuple[str, int | None, int | None]] = []
        for name, gte, lt in spans:
            is_whole = (gte, lt) == (None, None) and name in LISTS and LISTS[name].by_created
            cut += [(name, NEWEST, None), (name, None, OLDEST)] if is_whole else [(name, gte, lt)]
        add(conn, run, cut)

    monkeypatch.setattr(shards, "add", add_two)
