"""Jobs that don't read Stripe are killed at each position they save. The next start continues, and the result is complete.

`tests/writers/test_interrupted.py` does the same with the jobs that read Stripe.
"""

import itertools
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from tests import factories
from worker.inbox import retention_store
from worker.jobs import periodic
from worker.membership import catalogue_changes, compute, recompute_all
from worker.membership.rules.access import Policy
from worker.mirror import revenue_summary, subscription_history
from worker.postgres import cursors
from worker.privacy import erase, references
from worker.writers import retention

USERS = 12
SLOT = datetime(2026, 11, 22, 12, tzinfo=UTC)
SCATTERED = "user_3@example.com".ljust(1200)  # a block of 8 KiB holds five of these events


class Killed(BaseException):
    """Raised in place of kill -9. A job's handlers of Exception don't catch it."""


def retain(conn: psycopg.Connection, slot: datetime) -> None:
    retention.tick(conn, slot, keep=timedelta(days=35), should_continue=lambda: True)


def compute_product_changes(conn: psycopg.Connection, slot: datetime) -> None:
    assert catalogue_changes.compute_waiting(conn, Policy(), should_continue=lambda: True, batch=5)


def apply_membership(conn: psycopg.Connection, slot: datetime) -> None:
    list(recompute_all.apply(lambda: psycopg.connect(conn.info.dsn, autocommit=True), Policy(), batch=5))


def blank(conn: psycopg.Connection, slot: datetime) -> None:
    while conn.execute("select from sync.erased where swept_at is null").fetchone() is not None:
        turns = itertools.count()
        erase.sweep(conn, should_continue=lambda: next(turns) < 3)  # noqa: B023 - called at once


JOBS: dict[str, Callable[[psycopg.Connection, datetime], None]] = {
    "retention": retain,
    "revenue": revenue_summary.refresh,
    "product_changes": compute_product_changes,
    "membership_apply": apply_membership,
    "erasure": blank,
}
# The function that does one piece of the work, such as a batch. Its arguments name the piece. Retention is not here, because it
# begins a new round after each round.
PIECES: dict[str, tuple[Any, str]] = {
    "product_changes": (compute, "compute_each"),
    "membership_apply": (compute, "compute"),
    "erasure": (references, "events_naming"),
}
# A kill loses at most the piece that was not saved, and the next kill is one piece later.
MOST_TIMES = 2


@pytest.mark.parametrize("name", JOBS)
@pytest.mark.parametrize("at", ["before", "after"])
def test_a_job_killed_at_every_position_it_saves_still_does_all_its_work(
    conn: psycopg.Connection, apply: Callable[..., None], monkeypatch: pytest.MonkeyPatch, name: str, at: str
) -> None:
    prepare(conn, apply, monkeypatch)
    if name in PIECES:
        refuse_a_piece_done_too_often(monkeypatch, *PIECES[name])
    slots = (SLOT + timedelta(hours=n) for n in itertools.count())
    kills, done = 0, False
    while not done:
        with monkeypatch.context() as life:
            die_at_the_save(life, number=kills + 1, at=at)
            try:
                JOBS[name](conn, next(slots))
                done = True
            except Killed:
                kills += 1
        # A process that is really killed can't record that its run failed, so undo that record.
        conn.execute(
            """
            update sync.runs set outcome = null, finished_at = null, seen_at = now() - interval '1 hour'
            where outcome = 'failed'
            """
        )

    assert kills >= {"revenue": 1}.get(name, 3)
    match name:
        case "retention":
            assert set(conn.execute("select id from sync.events where id like 'evt_old_%'")) == set()
            seeded = "select count(distinct subscription) from mirror.subscription_history"
            assert conn.execute(seeded).fetchone() == (USERS,)
        case "revenue":
            summary = revenue_summary.read(conn)
            assert summary is not None
            assert list(summary.currencies) == ["usd"]
        case "product_changes" | "membership_apply":
            roles = conn.execute("select role::text, count(*)::int from users group by role").fetchall()
            assert dict(roles) == {"USER": USERS}
            assert [dict(piece.changing) for piece in recompute_all.plan(conn, Policy())] == [{}]
            assert cursors.read(conn, catalogue_changes.CURSOR) is None
            assert cursors.read(conn, recompute_all.CURSOR) is None
        case "erasure":
            left = "select id from sync.events where body like '%user_3@example.com%'"
            assert conn.execute(left).fetchall() == []
            assert cursors.read(conn, erase.CURSOR) is None


def test_every_periodic_job_that_reads_nothing_from_stripe_is_killed_here() -> None:
    assert {job.name for job in periodic.JOBS if not job.needs_key} <= set(JOBS)


def prepare(conn: psycopg.Connection, apply: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    """Create work for each job, and make the batches so small that each job needs several."""
    monkeypatch.setattr(retention_store, "BLOCKS", 1)
    monkeypatch.setattr(references, "BLOCKS", 1)
    monkeypatch.setattr(subscription_history, "BATCH", 5)
    conn.execute("insert into users (id) select 'user_' || n from generate_series(1, %s) as n", (USERS,))
    pro = factories.product(role="PREMIUM")
    apply(
        factories.event("product.created", pro),
        factories.event("price.created", factories.price()),
        *itertools.chain.from_iterable(person(number) for number in range(1, USERS + 1)),
    )
    assert conn.execute("select count(*) from users where role = 'PREMIUM'").fetchone() == (USERS,)
    changed = factories.product(role="USER")
    apply(factories.event("product.updated", changed, created=factories.NOW + factories.DAY))
    assert conn.execute("select count(*) from users where role = 'PREMIUM'").fetchone() == (USERS,)
    conn.execute("truncate mirror.subscription_history")
    conn.execute(
        """
        insert into sync.events (id, type, livemode, created, received_at, body, status, done_at)
        select 'evt_old_' || n, 't', false, now(), now() - interval '1 year', repeat('x', 1500), 'done', now() - interval '1 year'
        from generate_series(1, 30) as n
        """
    )
    # These objects are not mirrored, so only the search through the whole inbox finds their events.
    items = [{"id": f"ii_{n}", "object": "invoiceitem", "customer": "cus_3"} for n in range(30)]
    events = [factories.event("invoiceitem.created", item | {"description": SCATTERED}) for item in items]
    with conn.cursor() as cursor:
        cursor.executemany(
            """
            insert into sync.events (id, type, livemode, created, body, status, done_at)
            values (%s, 'invoiceitem.created', false, now(), %s, 'done', now())
            """,
            [(event["id"], factories.encoded(event).decode()) for event in events],
        )
    conn.execute("insert into sync.erased (object, id, user_id) values ('customer', 'cus_3', 'user_3')")


def person(number: int) -> list[factories.Json]:
    """The events of a customer with an active subscription."""
    id_ = f"cus_{number}"
    customer = factories.customer(id_, user_id=f"user_{number}", email=f"user_{number}@example.com")
    subscription = factories.subscription(f"sub_{number}", customer=id_)
    return [
        factories.event("customer.created", customer, created=factories.NOW),
        factories.event("customer.subscription.created", subscription, created=factories.NOW + 10),
    ]


def refuse_a_piece_done_too_often(monkeypatch: pytest.MonkeyPatch, module: Any, function: str) -> None:
    """Fail if a job does a piece again and again. A job that forgets its position begins with the first piece each time."""
    times: Counter[str] = Counter()
    real = getattr(module, function)

    def counting(conn: psycopg.Connection, *piece: Any, **options: Any) -> Any:
        times[repr((piece, options))] += 1
        assert max(times.values()) <= MOST_TIMES, times
        return real(conn, *piece, **options)

    monkeypatch.setattr(module, function, counting)


def die_at_the_save(life: pytest.MonkeyPatch, *, number: int, at: str) -> None:
    """Raise Killed at the save with this number, before or after the position is written."""
    saves = itertools.count(1)

    def dying(save: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            is_last = next(saves) == number
            if is_last and at == "before":
                raise Killed
            saved = save(*arguments)
            if is_last:
                raise Killed
            return saved

        return call

    for name in ("save", "move"):
        life.setattr(cursors, name, dying(getattr(cursors, name)))
