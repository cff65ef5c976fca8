"""Deliver Stripe's sample events to the real processes, if a copy of them lies beside the repository."""

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.backends import Backend
from tests.processes import Daemon
from tests.system.test_daemon import post_all

SAMPLES = Path(__file__).parents[3] / "shared" / "stripe"
FILES = ("events.jsonl", "events_edge.jsonl", "events_2024-06-20.jsonl", "thin_events.jsonl")

pytestmark = [
    pytest.mark.system,
    pytest.mark.skipif(not SAMPLES.is_dir(), reason="no folder of sample events beside the repository"),
]


def bodies() -> list[bytes]:
    return [line.strip() for name in FILES for line in (SAMPLES / name).read_bytes().splitlines()]


def settled(database_url: str) -> dict[tuple[str, ...], tuple[Any, ...]]:
    """The settled rows of the mirror with their content."""
    rows: dict[tuple[str, ...], tuple[Any, ...]] = {}
    with psycopg.connect(database_url) as conn:
        tables = [
            name
            for (name,) in conn.execute(
                "select table_name from information_schema.columns where table_schema = 'mirror' and column_name = 'unsettled'"
            )
        ]
        for table in tables:
            kind = "object" if table == "objects" else f"'{table}'"
            for key, *row in conn.execute(
                f"select ({kind}, id, account)::text, content_hash, deleted, data from mirror.{table} where not unsettled"
            ):
                rows[(table, key)] = tuple(row)
    return rows


@pytest.fixture
def daemon(backend: Backend, database: str, tmp_path: Path) -> Iterator[Daemon]:
    running = Daemon(database, backend.redis_url, tmp_path)
    with psycopg.connect(database, autocommit=True) as conn:
        conn.execute("insert into users (id, email) values ('user_42', 'jenny@example.com')")
    running.start_web()
    running.start("worker")
    running.start("worker")
    yield running
    running.stop()


def test_every_sample_is_answered_200_and_every_object_with_an_id_is_mirrored(daemon: Daemon) -> None:
    statuses = post_all(daemon, bodies(), clients=1)
    daemon.wait_until_applied()

    assert set(statuses) == {200}
    assert daemon.count("select count(*) from sync.events where status = 'parked' and outcome <> 'needs_key'") == 0
    with psycopg.connect(daemon.database_url) as conn:
        for body in bodies():
            obj = json.loads(body).get("data", {}).get("object", {})
            if "id" in obj:
                row = conn.execute("select count(*) from sync.events where object_id = %s", (obj["id"],)).fetchone()
                assert row is not None
                assert row[0] >= 1
        assert conn.execute("select role::text, membership_status::text from users").fetchone() == ("USER", "CANCELED")
        assert conn.execute("select stripe_price_id, status from user_subscriptions").fetchone() == (
            "price_1Tnp5oDemoSynC01srf3SnDx",
            "canceled",
        )


def test_shuffled_and_repeated_samples_end_in_the_same_settled_rows(
    daemon: Daemon, backend: Backend, template: str, tmp_path: Path
) -> None:
    other = backend.create_database("samples_in_order", template=template)
    in_order = Daemon(other, backend.redis_url, tmp_path)
    shuffled = bodies() * 2
    random.Random(7).shuffle(shuffled)

    statuses = post_all(daemon, shuffled)
    daemon.wait_until_applied()
    # Both databases share one queue, so the first daemon stops before the second starts.
    daemon.stop()
    in_order.start_web()
    in_order.start("worker")
    post_all(in_order, bodies(), clients=1)
    in_order.wait_until_applied()
    in_order.stop()

    assert set(statuses) == {200}
    one, two = settled(daemon.database_url), settled(other)
    both = {
        key
        for key in one.keys() & two.keys()
        # In the samples an invoice line has a different id in each API version. At Stripe its id is the same.
        if key[0] != "invoice_line_items"
    }
    backend.drop_database("samples_in_order")
    assert len(both) > 40
    assert {key: one[key] for key in both} == {key: two[key] for key in both}
