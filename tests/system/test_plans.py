"""No pass, tick or batch scans a whole table that grows with the account. The plan of each statement is checked."""

import contextlib
import urllib.error
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import msgspec
import psycopg
import pytest
from celery import Celery

from tests import plans
from tests.plans import Plans
from tests.sandboxes import Sandbox
from worker.config.settings import Settings
from worker.inbox import store as inbox
from worker.jobs import chores, tasks
from worker.membership import compute, organizations, recompute_all
from worker.membership.rules.access import Policy
from worker.membership.store import computed_users
from worker.mirror import absences, shards
from worker.mirror import store as mirror
from worker.on_access import sync_user
from worker.postgres import cursors
from worker.stripe_api.client import Stripe
from worker.stripe_api.envelope import read_envelope
from worker.stripe_api.lists import LISTS
from worker.writers import audit, backfill, catch_up, reconcile, refetch, refresh_catalogue, retention
from worker.writers.apply import Applier, compute_waiting

# Objects that exist only in the mirror were created between these times.
OLDEST, NEWEST = (int(datetime(year, 1, 1, tzinfo=UTC).timestamp()) for year in (2013, 2024))

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
        do_everything(conn, settings, stripe)
        missed = [what for what, statement in PLANTED.items() if not seen.fault_of(conn, statement)]

    assert "\n\n".join(seen.faults.values()) == ""
    assert missed == []
    assert len(seen.seen) > 150


def tell_every_story(sandbox: Sandbox) -> list[str]:
    """Play every story of the sandbox, and return the users."""
    names = [story["story"] for story in sandbox.ask("")["stories"]]
    for name in names:
        # Stories that continue another story are refused.
        with contextlib.suppress(urllib.error.HTTPError):
            sandbox.tell(f"stories/{name}", user_id=f"user_of_{name}")
    sandbox.tell("stories/sign_up", user_id="ada")
    for story in ("renewal", "refund", "dispute", "credit_note", "upgrade", "seats", "past_due", "cancel"):
        with contextlib.suppress(urllib.error.HTTPError):
            sandbox.tell(f"stories/{story}", user_id="ada")
    return ["ada", *(f"user_of_{name}" for name in names)]


def do_everything(conn: psycopg.Connection, settings: Settings, stripe: Stripe) -> None:
    """Run each pass, tick and batch once."""
    policy, now = Policy(), datetime.now(UTC)
    cursors.save(conn, catch_up.CURSOR, int(now.timestamp()) - 3_600)
    catch_up.tick(conn, lambda: stripe, now, now=int(now.timestamp()) + 60, should_continue=lambda: True)
    events = stripe.page("/v1/events").data
    inbox.store(conn, [read_envelope(msgspec.json.encode(event).decode()) for event in events])
    Applier(livemode=False, policy=policy, has_key=True).drain(conn)
    Applier(livemode=False, policy=policy, has_key=False).drain(conn)
    compute_waiting(conn, policy)
    organizations.compute_waiting(conn, policy, should_continue=lambda: True)
    with psycopg.connect(settings.database_url, autocommit=True) as other:
        other.execute("update sync.refetch_queue set due_at = now() where id not like 'refetch%'")
    refetch.drain(conn, stripe, policy, should_continue=lambda: True)

    refresh_catalogue.tick(conn, lambda: stripe, policy, now, should_continue=lambda: True)
    reconcile.tick(conn, lambda: stripe, policy, now, should_continue=lambda: True)
    few = replace(audit.OPTIONS, pages=120)
    audit.tick(conn, lambda: stripe, policy, now, options=few, should_continue=lambda: True)
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

    process = tasks.register(Celery("test", broker="memory://", set_as_current=False), settings)
    for chore in chores.CHORES:
        chore(conn, process)
    sync_user.force(lambda: contextlib.nullcontext(conn), lambda: stripe, policy, "ada", seconds=30)
    with conn.transaction():
        compute.compute(conn, computed_users.after(conn, "", limit=recompute_all.BATCH), policy, concerned_only=True)
    retention.tick(conn, now, keep=timedelta(days=35), should_continue=lambda: True)


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
