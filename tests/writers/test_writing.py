"""Pages that wait for a connection are written in one transaction. If a page can't be written, the others still are."""

import threading
from typing import Any

import msgspec
import psycopg
import pytest

from tests.processes import eventually
from worker.membership.rules.access import Policy
from worker.mirror import shards
from worker.mirror import store as mirror
from worker.mirror.shards import Shard
from worker.stripe_api.answers import Page
from worker.writers.list_pass import Listing, Place, record_pages
from worker.writers.passes import writing
from worker.writers.passes.plan import Options, Shape
from worker.writers.passes.writing import ReadPage, Saved, Writer

LISTING = Listing(object="customer", path="/v1/customers")
READ_AT = 1_790_000_000


class Pass:
    """A pass with three threads. Each has read a page while the only connection is in use."""

    def __init__(self, conn: psycopg.Connection, monkeypatch: pytest.MonkeyPatch, *, mine: int = 3) -> None:
        self._conn = conn
        self.run, _ = shards.begin(conn, "test", {})
        shards.add(conn, self.run, [("customers", n, n + 1) for n in range(3)])
        self.shards = shards.lease(conn, self.run, {"customers": 3}, owner="me", limit=3)
        for lost in self.shards[mine:]:
            conn.execute("update sync.shards set leased_by = 'you' where id = %s", (lost.id,))
        self.together: list[int] = []
        self.saved: dict[int, Saved | None] = {}

        def counted(conn: psycopg.Connection, pages: Any, *arguments: Any, **options: Any) -> Any:
            self.together.append(len(pages))
            return record_pages(conn, pages, *arguments, **options)

        monkeypatch.setattr(writing, "record_pages", counted)

    def write(self, pages: list[Page]) -> None:
        writer = Writer([self._conn], Policy(), self.run, Options(), "me")
        threads = [
            threading.Thread(target=self._write, args=(writer, shard, page))
            for shard, page in zip(self.shards, pages, strict=True)
        ]
        with writer.connection():
            for thread in threads:
                thread.start()
            while len(writer.waiting) < len(threads):
                pass
        for thread in threads:
            thread.join(30)
        writer.close()

    def _write(self, writer: Writer, shard: Shard, page: Page) -> None:
        read = ReadPage(shard, Shape(LISTING), LISTING, page, Place(), {"pages": 4, "listed": 7})
        self.saved[shard.id] = writer.write_page(read)

    def held(self) -> set[str]:
        return {row[0] for row in self._conn.execute("select id from mirror.customers")}

    def tallies(self) -> list[dict[str, int]]:
        return [row[0] for row in self._conn.execute("select tally from sync.shards order by id")]


def page(*ids: str, **fields: Any) -> Page:
    data = [{"id": id_, "object": "customer", "created": READ_AT - 100, **fields} for id_ in ids]
    return Page(data, has_more=True, read_at=READ_AT)


def test_waiting_pages_are_written_in_one_transaction_each_with_its_own_tally(
    conn: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    it = Pass(conn, monkeypatch)

    it.write([page("cus_1", "cus_2"), page("cus_3"), page()])

    assert it.together == [3]
    assert it.held() == {"cus_1", "cus_2", "cus_3"}
    assert [(each["pages"], each["listed"], each["written"]) for each in it.tallies()] == [
        (5, 9, 2),
        (5, 8, 1),
        (5, 7, 0),
    ]


def test_an_object_that_cannot_be_written_does_not_affect_other_pages(
    conn: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    conn.execute("alter table mirror.customers add check (email <> 'impossible')")
    it = Pass(conn, monkeypatch)

    it.write([page("cus_1"), page("cus_2", email="impossible"), page("cus_3")])

    assert it.together[0] == 3
    assert it.held() == {"cus_1", "cus_3"}
    assert [each.get("refused", 0) for each in it.tallies()] == [0, 1, 0]


def test_only_the_page_of_a_shard_leased_by_another_process_is_not_written(
    conn: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    it = Pass(conn, monkeypatch, mine=2)

    it.write([page("cus_1"), page("cus_2"), page("cus_3")])

    assert it.held() == {"cus_1", "cus_2"}
    assert it.saved[it.shards[2].id] is None
    assert [each.get("written", 0) for each in it.tallies()] == [1, 1, 0]


def test_a_returned_connection_goes_to_the_thread_that_waits_for_it(conn: psycopg.Connection) -> None:
    writer, order = Writer([conn], Policy(), 1, Options(), "me"), list[str]()

    def look() -> None:
        with writer.connection():
            order.append("waited")

    waiting = threading.Thread(target=look)
    with writer.connection():
        waiting.start()
        eventually(lambda: writer._connections._turns)
    with writer.connection():
        order.append("returned")
    waiting.join()
    writer.close()

    assert order == ["waited", "returned"]


def test_a_waiting_page_is_not_decoded_yet(conn: psycopg.Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    it = Pass(conn, monkeypatch)
    raw = msgspec.json.decode(msgspec.json.encode(page("cus_1").data), type=list[msgspec.Raw])
    read = Page(raw, has_more=True, read_at=READ_AT, encoded=True)

    writer = Writer([conn], Policy(), it.run, Options(), "me")
    thread = threading.Thread(target=it._write, args=(writer, it.shards[0], read))
    with writer.connection():
        thread.start()
        eventually(lambda: writer.waiting)
        assert read._data is None
    thread.join()
    writer.close()

    assert it.held() == {"cus_1"}


def test_a_closed_writer_writes_nothing(conn: psycopg.Connection) -> None:
    writer = Writer([conn], Policy(), 1, Options(), "me")
    writer.close()
    shard = Shard(1, 1, "customers", None, None, None, {}, 0)

    with pytest.raises(writing.Ended):
        writer.write_page(ReadPage(shard, Shape(LISTING), LISTING, page("cus_1"), Place(), {}))


def test_filled_tables_get_statistics(conn: psycopg.Connection) -> None:
    conn.execute(
        """
        insert into mirror.customers (id, data, observed_at, observed_rank, observed_in, content_hash, shape)
        select 'cus_' || n, '{}', now(), 1, 'list:1', 'x', 'endive' from generate_series(1, 300) as n
        """
    )
    conn.execute("select pg_stat_force_next_flush()")

    mirror.analyze(conn)

    columns = conn.execute("select attname from pg_stats where schemaname = 'mirror' and tablename = 'customers'")
    named = {row[0] for row in columns}
    assert {"id", "account"} <= named
    assert "data" not in named
