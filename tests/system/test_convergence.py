"""The end state equals Stripe, whatever is delivered. This is the main guarantee, tested here on the real processes.

Many customers live their lives in the sandbox while deliveries are shuffled, duplicated and lost, workers are killed, the
broker forgets everything and Postgres goes down. Then every mirrored table is compared with the sandbox.

The daemon starts as if it had been down for two weeks. Some deliveries of that time are lost, and catch-up must find their
events. All older events are delivered, but late and in any order. The sandbox's clock is set back while that time is
played, and is set to the real time again before the daemon starts. Only the list of events is read, so no other list can repair
a fault.

CONVERGENCE_CUSTOMERS sets the number of customers, and CONVERGENCE_SEED the seed of all random choices.
"""

import os
import random
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest
import redis
from psycopg.rows import dict_row

import migrations
from tests import sandboxes
from tests.backends import Backend
from tests.factories import DAY, Json
from tests.processes import Daemon, eventually
from tests.sandboxes import Sandbox
from worker.dev.servers import Postgres, start_postgres
from worker.mirror.version import content_hash
from worker.postgres import cursors, runs
from worker.stripe_api.json_paths import canonical
from worker.writers import audit, reconcile, refresh_catalogue

pytestmark = pytest.mark.system

CUSTOMERS = int(os.environ.get("CONVERGENCE_CUSTOMERS", "100"))
SEED = int(os.environ.get("CONVERGENCE_SEED", "1"))

# An interval in seconds that does not end during the test.
NEVER = 1_000_000_000
FETCHES_PER_EVENT = 0.7

TABLES = {
    "product": "products",
    "price": "prices",
    "plan": "plans",
    "coupon": "coupons",
    "customer": "customers",
    "payment_method": "payment_methods",
    "subscription": "subscriptions",
    "invoice": "invoices",
    "invoice_payment": "invoice_payments",
    "payment_intent": "payment_intents",
    "charge": "charges",
    "refund": "refunds",
    "dispute": "disputes",
    "checkout.session": "checkout_sessions",
}
CHILDREN = {"subscription_item": "subscription_items", "line_item": "invoice_line_items"}

Scene = tuple[str, dict[str, Any]]


@dataclass(frozen=True)
class Life:
    """A customer's scenes: long ago (all events are delivered), while the daemon was down, and while it runs.

    A parameter that begins with a dollar sign refers to an id created in an earlier scene.
    """

    long_ago: tuple[Scene, ...] = ()
    lately: tuple[Scene, ...] = ()
    now: tuple[Scene, ...] = ()


def scene(name: str, **params: Any) -> Scene:
    return name, params


SIGN_UP = scene("sign_up")
STARTER = scene("sign_up", price="starter_monthly")

LIVES = {
    "signs up": Life(now=(SIGN_UP,)),
    "renews": Life(long_ago=(SIGN_UP,), lately=(scene("renewal"),)),
    "renews, then upgrades": Life(long_ago=(STARTER,), lately=(scene("renewal"),), now=(scene("upgrade"),)),
    "does not pay": Life(long_ago=(SIGN_UP,), lately=(scene("past_due"),)),
    "pays late": Life(long_ago=(SIGN_UP,), lately=(scene("past_due"), scene("recovery"))),
    "pays late just now": Life(long_ago=(SIGN_UP,), lately=(scene("past_due"),), now=(scene("recovery"),)),
    "never pays again": Life(long_ago=(SIGN_UP,), lately=(scene("unpaid"),)),
    "is given up": Life(long_ago=(SIGN_UP,), lately=(scene("unpaid", then="canceled"),)),
    "leaves at the end": Life(long_ago=(SIGN_UP,), lately=(scene("cancel"),)),
    "tries": Life(lately=(scene("trial", days=30),)),
    "tries and stays": Life(lately=(scene("trial", days=3), scene("renewal"))),
    "never pays": Life(lately=(scene("incomplete", expires=True),)),
    "has not paid yet": Life(now=(scene("incomplete"),)),
    "upgrades": Life(now=(STARTER, scene("upgrade"))),
    "wants more": Life(now=(SIGN_UP, scene("seats", quantity=3))),
    "pauses": Life(now=(SIGN_UP, scene("pause", how="status"))),
    "pauses and resumes": Life(now=(SIGN_UP, scene("pause"), scene("resume"))),
    "leaves at once": Life(now=(SIGN_UP, scene("cancel", when="now"))),
    "will leave": Life(now=(SIGN_UP, scene("cancel", when="scheduled"))),
    "wants the money back": Life(now=(SIGN_UP, scene("refund"))),
    "wants some money back": Life(now=(SIGN_UP, scene("refund", amount=500))),
    "gets no money back": Life(lately=(SIGN_UP, scene("refund_failed"))),
    "disputes": Life(now=(SIGN_UP, scene("dispute"))),
    "loses a dispute": Life(now=(SIGN_UP, scene("dispute", outcome="won"))),
    "buys tokens": Life(now=(scene("token_pack", quantity=2),)),
    "pays nothing": Life(now=(scene("zero_invoice"),)),
    "pays by the year": Life(now=(scene("yearly"),)),
    "has two": Life(now=(scene("several_subscriptions"),)),
    "is two": Life(now=(scene("several_customers"),)),
    "has many items": Life(now=(scene("many_items"),)),
    "has many lines": Life(now=(scene("many_lines"),)),
    "is changed and changed back": Life(
        now=(
            SIGN_UP,
            scene("touch", kind="subscription", id="$subscription", times=4),
            scene("touch", kind="customer", id="$customer", times=5),
            scene("touch", kind="invoice", id="$invoice", times=2),
        )
    ),
    "is deleted": Life(now=(SIGN_UP, scene("delete_customer"))),
    "is deleted after years": Life(long_ago=(SIGN_UP,), lately=(scene("renewal"), scene("delete_customer"))),
}


@dataclass
class Player:
    """Play lives, and remember the ids that each of them created."""

    sandbox: Sandbox
    ids: dict[str, dict[str, Any]] = field(default_factory=dict)

    def play(self, user: str, scenes: tuple[Scene, ...]) -> None:
        made = self.ids.setdefault(user, {})
        for name, params in scenes:
            chosen = {key: made[value[1:]] if str(value).startswith("$") else value for key, value in params.items()}
            if name != "touch":
                chosen["user_id"] = user
            made |= self.sandbox.tell(f"stories/{name}", **chosen)["ids"]

    def remake(self, number: int) -> None:
        """Create a product and a coupon with chosen ids, delete and recreate them, and delete another product."""
        self.sandbox.tell("stories/recreate", kind="product", id=f"membership_{number}")
        self.sandbox.tell("stories/recreate", kind="coupon", id=f"COUPON_{number}")
        product = self.sandbox.post("/v1/products", name=f"Short-lived {number}")
        self.sandbox.post(
            "/v1/prices",
            **{
                "product": product["id"],
                "currency": "usd",
                "unit_amount": "100",
                "recurring[interval]": "month",
            },
        )
        self.sandbox.tell("stories/delete_product", product=product["id"])


@pytest.fixture
def postgres() -> Iterator[Postgres]:
    with tempfile.TemporaryDirectory(prefix="stripe-sync-convergence-") as home:
        Path(home).chmod(0o755)
        running = start_postgres(Path(home) / "postgres")
        yield running
        running.close()


@pytest.fixture
def daemon(backend: Backend, postgres: Postgres, tmp_path: Path) -> Iterator[Daemon]:
    dsn = postgres.create_database("daemon")
    migrations.migrate(dsn)
    with redis.Redis.from_url(backend.redis_url) as client:
        client.flushall()
    running = Daemon(
        dsn,
        backend.redis_url,
        tmp_path,
        EVENT_LEASE="3",
        CATCH_UP_INTERVAL="2",
        PRODUCT_REFRESH_INTERVAL=str(NEVER),
        RECONCILE_INTERVAL=str(NEVER),
        AUDIT_INTERVAL=str(NEVER),
    )
    yield running
    running.stop()


@pytest.fixture
def sandbox(daemon: Daemon) -> Iterator[Sandbox]:
    with sandboxes.running(webhook=daemon.webhook, seed=SEED) as running:
        daemon.env |= {"STRIPE_SECRET_KEY": sandboxes.KEY, "STRIPE_API_BASE": running.address}
        yield running


def test_the_end_state_equals_stripe_whatever_is_delivered(
    daemon: Daemon, sandbox: Sandbox, postgres: Postgres, backend: Backend
) -> None:
    chance = random.Random(SEED)
    names = [name for _, name in zip(range(CUSTOMERS), list(LIVES) * (CUSTOMERS // len(LIVES) + 1), strict=False)]
    users = {f"user_{number}": LIVES[name] for number, name in enumerate(names)}
    began = time.monotonic()
    prepare(daemon, users)
    player = Player(sandbox)

    live_in_the_past(player, users)
    daemon.start_web()
    sandbox.tell("deliveries", flush=True, shuffle=True)
    live_through_trouble(daemon, player, users, chance, postgres, backend)
    lived = time.monotonic() - began
    wait_until_quiet(daemon, sandbox)
    settled = time.monotonic() - began

    per_type = compare_mirror(daemon, sandbox)
    compare_users(daemon, sandbox, users)
    stats = sandbox.ask("stats")
    asked = sum(number for operation, number in stats["requests"].items() if operation.endswith("/{id}"))
    deliveries = stats["deliveries"]
    caught_up = daemon.count("select sum(value)::bigint from sync.counters where name = 'events_caught_up'")
    print(
        f"\n{CUSTOMERS} customers, seed {SEED}: {stats['events']} events, {deliveries['ok']} delivered, "
        f"{deliveries['duplicated']} doubled, {deliveries['dropped']} lost, {caught_up} found by catch-up"
        f"\nobjects compared: {sum(per_type.values())} {per_type}"
        f"\nreads of single objects: {asked}, {asked / stats['events']:.2f} an event"
        f"\nlived {lived:.0f} s, quiet after {settled:.0f} s"
    )
    assert deliveries["dropped"] > 0
    assert deliveries["duplicated"] > 0
    assert daemon.count("select count(*) from sync.drift") == 0
    assert asked / stats["events"] < FETCHES_PER_EVENT


def prepare(daemon: Daemon, users: dict[str, Life]) -> None:
    """Create the application's users, set the daemon's last activity two weeks back, and record every list as read."""
    slot = datetime.fromtimestamp(time.time() // NEVER * NEVER, UTC)
    with psycopg.connect(daemon.database_url, autocommit=True) as conn:
        for user in users:
            conn.execute("insert into users (id, email) values (%s, %s)", (user, f"{user}@example.com"))
        cursors.save(conn, "events", int(time.time()) - 14 * DAY)
        for job in (refresh_catalogue.JOB, reconcile.JOB, audit.JOB):
            runs.note(conn, job, slot, {})


def live_in_the_past(player: Player, users: dict[str, Life]) -> None:
    """Play the past while deliveries are paused. A tenth of the deliveries of the last two weeks are lost."""
    now, sandbox = int(time.time()), player.sandbox
    sandbox.tell("deliveries", paused=True, duplicate=0.2)
    for user, life in users.items():
        # A month that begins 41 days ago ends 10 to 13 days ago.
        sandbox.tell("clock", now=now - 41 * DAY)
        player.play(user, life.long_ago)
    sandbox.tell("deliveries", drop=0.1)
    for user, life in users.items():
        sandbox.tell("clock", now=now - 13 * DAY - DAY // 2)
        player.play(user, life.lately)
        assert sandbox.ask("clock")["now"] < now
    sandbox.tell("clock", real=True)
    sandbox.tell("deliveries", paused=False, reorder_seconds=2.0)


def live_through_trouble(
    daemon: Daemon,
    player: Player,
    users: dict[str, Life],
    chance: random.Random,
    postgres: Postgres,
    backend: Backend,
) -> None:
    """Play the scenes of the present while one fault after another is staged."""
    workers = [daemon.start("worker"), daemon.start("worker")]
    daemon.start("beat")
    eventually(lambda: daemon.count("select count(*) from sync.events where status = 'done'"))
    order = list(users)
    chance.shuffle(order)
    kills = set(chance.sample(range(len(order)), 4))
    flushed, restarted = chance.sample(range(len(order) // 4, len(order)), 2)
    for number, user in enumerate(order):
        player.play(user, users[user].now)
        if number % 12 == 0:
            player.remake(number)
        if number in kills:
            victim = chance.randrange(2)
            daemon.kill(workers[victim])
            workers[victim] = daemon.start("worker")
        if number == flushed:
            with closing(redis.Redis.from_url(backend.redis_url)) as client:
                client.flushall()
        if number == restarted:
            postgres.kill()
            postgres.start()


def wait_until_quiet(daemon: Daemon, sandbox: Sandbox) -> None:
    """Wait until everything is delivered, catch-up has passed the last event, and no read is queued."""
    sandbox.tell("deliveries", drain=30)
    end = sandbox.ask("clock")["now"]
    # A worker killed during catch-up is noticed after a minute.
    eventually(
        lambda: daemon.count(f"select count(*) from sync.cursors where name = 'events' and value::bigint > {end}"),
        within=180,
    )
    left = " union all ".join(f"select 1 from stripe.{table} where unsettled" for table in TABLES.values())
    eventually(
        lambda: (
            daemon.count(
                f"""
                select (select count(*) from sync.events where status = 'pending') + (select count(*) from sync.refetch_queue)
                    + (select count(*) from sync.recompute_queue) + (select count(*) from sync.rechecks)
                    + (select count(*) from ({left}) as unsettled)
                """
            )
            == 0
        ),
        within=90,
    )


def compare_mirror(daemon: Daemon, sandbox: Sandbox) -> dict[str, int]:
    """Compare every mirrored table with the sandbox, and return the number of compared objects by type."""
    compared: dict[str, int] = {}
    wrong: list[str] = []
    with psycopg.connect(daemon.database_url, row_factory=dict_row) as conn:
        for type_, table in (TABLES | CHILDREN).items():
            live, gone = held_by(sandbox, type_)
            rows = {row["id"]: row for row in conn.execute(f"select * from stripe.{table}")}
            missing = [obj for id_, obj in live.items() if id_ not in rows and not has_no_event(obj)]
            wrong += [f"{type_} {obj['id']} is not mirrored" for obj in missing]
            for id_, row in rows.items():
                wrong += [f"{type_} {id_}: {fault}" for fault in faults(row, live.get(id_), id_ in gone, type_)]
            compared[type_] = len(live) + len(gone & rows.keys())
        unknown = conn.execute("select id from stripe.other_objects where unsettled").fetchall()
        parked = conn.execute("select id, type, last_error from sync.events where status = 'parked'").fetchall()
    assert not wrong, "\n".join(wrong)
    assert unknown == []
    assert parked == []
    assert daemon.count("select count(*) from sync.events") == sandbox.ask("stats")["events"]
    return compared


def held_by(sandbox: Sandbox, type_: str) -> tuple[dict[str, Json], set[str]]:
    """The sandbox's objects of a type by id, and the ids of its deleted objects."""
    live: dict[str, Json] = {}
    gone: set[str] = set()
    page: Json = {"next": ""}
    while page["next"] is not None:
        after = f"&after={page['next']}" if page["next"] else ""
        page = sandbox.ask(f"state?type={type_}{after}")
        live |= {obj["id"]: obj for obj in page["objects"]}
        gone |= set(page["deleted"])
    return live, gone


def has_no_event(obj: Json) -> bool:
    """Whether no event reports the object. Stripe reports an invoice payment's success, but not its creation."""
    return bool(obj["object"] == "invoice_payment" and obj["status"] == "open")


def faults(row: dict[str, Any], obj: Json | None, gone: bool, type_: str) -> list[str]:
    """The differences between a row and Stripe's object."""
    differences = ["is unsettled"] if row["unsettled"] else []
    if obj is None:
        # A deleted object, or a child that Stripe no longer has, keeps its last state.
        return (
            differences
            if row["deleted"] and (gone or type_ in CHILDREN)
            else [*differences, "no longer exists at Stripe"]
        )
    if row["deleted"]:
        return [*differences, "is marked deleted"]
    held = dict(row["data"])
    lists = {"items", "lines", "line_items"}
    for list_ in lists:
        # Stripe shows at most the first ten. The row and the child tables hold all of them.
        if obj.get(list_, {"has_more": True}).get("has_more"):
            obj, held = {**obj, list_: None}, {**held, list_: None}
    if content_hash(held) != content_hash(obj):
        differing = sorted(name for name in held.keys() | obj.keys() if held.get(name) != obj.get(name))
        differences += [f"{name} is {canonical(held.get(name))}, not {canonical(obj.get(name))}" for name in differing]
    for column in row.keys() & obj.keys() - {"object", "data", "metadata"} - lists:
        value = row[column]
        if isinstance(value, datetime):
            value = int(value.timestamp())
        if isinstance(obj[column], str | int | None) and value != obj[column] and str(value) != obj[column]:
            differences.append(f"column {column} says {value!r}, Stripe {obj[column]!r}")
    return differences


def an_hour_of(tokens: int) -> int:
    """The tolerated error in a line's tokens: an hour's share of them, and 1 for rounding."""
    return abs(tokens) * 3600 // (28 * DAY) + 1


def compare_users(daemon: Daemon, sandbox: Sandbox, users: dict[str, Life]) -> None:
    """Compare every user's role, status, product and tokens, and the ledger's grants by source, with the sandbox."""
    wrong: list[str] = []
    with psycopg.connect(daemon.database_url, row_factory=dict_row) as conn:
        held = {
            row["id"]: row
            for row in conn.execute(
                "select id, role::text, membership_status::text, stripe_product_id, tokens from users"
            )
        }
        ledger = conn.execute(
            "select user_id, source_key, amount, balance_after from sync.token_grants order by id"
        ).fetchall()
    for user, life in users.items():
        expected = sandbox.ask(f"expected?user_id={user}")
        # Of several products the daemon chooses the one with the larger allowance, and the sandbox the newest. Both are right.
        products = expected["entitled_products"] or [None]
        for name, right in (
            ("role", [expected["role"]]),
            ("membership_status", [expected["membership_status"]]),
            ("stripe_product_id", products),
        ):
            if held[user][name] not in right:
                wrong.append(f"{user}: {name} is {held[user][name]}, not {right}")
        granted = {row["source_key"]: row["amount"] for row in ledger if row["user_id"] == user}
        granted = {key: amount for key, amount in granted.items() if key.startswith(("invoice:", "cs:"))}
        owed = {grant["source_key"]: grant["tokens"] for grant in expected["grants"]}
        off = {key: abs(granted.get(key, 0) - tokens) for key, tokens in owed.items()}
        within = {key: an_hour_of(tokens) if min(owed.values()) < 0 else 0 for key, tokens in owed.items()}
        # The tokens of a payment 41 days ago expired before the daemon knew of it, so the row in the ledger says 0.
        if granted.keys() != owed.keys() or any(granted[key] and off[key] > within[key] for key in owed):
            wrong.append(f"{user}: granted {granted}, owed {owed}")
        # No tokens are spent here, so the balance equals the last row of the ledger.
        mine = [row for row in ledger if row["user_id"] == user]
        if held[user]["tokens"] != (mine[-1]["balance_after"] if mine else 0):
            wrong.append(f"{user}: holds {held[user]['tokens']}, the ledger says {mine[-1:]}")
        if life.long_ago or life.lately:
            continue
        # Returned money is recorded under the object that reported it first, a refund or a charge.
        taken = {
            row["source_key"]: -row["amount"] for row in mine if row["source_key"] not in granted and row["amount"] < 0
        }
        back = {clawback["object"]: clawback["tokens"] for clawback in expected["clawbacks"]}
        # If an item changes in the second in which its period begins, the new allowance has already replaced the old one, so
        # the credit for the old one removes no tokens. The balance is still right.
        wrong_lines = [
            key for key, tokens in owed.items() if off[key] > within[key] and (tokens > 0 or granted.get(key))
        ]
        if wrong_lines or sum(taken.values()) != sum(back.values()):
            wrong.append(f"{user}: granted {granted}, owed {owed}; taken {taken}, to be taken {back}")
        if abs(held[user]["tokens"] - sum(owed.values()) + sum(back.values())) > sum(within.values()):
            wrong.append(f"{user}: holds {held[user]['tokens']} tokens, expected {owed} less {back}")
    assert not wrong, "\n".join(wrong)
    assert len({row["source_key"] for row in ledger}) == len(ledger)
