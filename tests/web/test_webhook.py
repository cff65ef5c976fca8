"""The webhook endpoint, called by Stripe and by strangers: the real web process on a real database."""

import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql

from schema import SYNC_MARK
from tests.backends import Backend
from tests.processes import SECRET, Daemon, deliver, eventually, sign
from worker.web.webhook import MAX_BODY_BYTES, Refused, read

pytestmark = pytest.mark.system


@pytest.fixture(scope="module")
def web(backend: Backend, template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    database = backend.create_database("web", template=template)
    daemon = Daemon(
        database, backend.redis_url, tmp_path_factory.mktemp("logs"), STRIPE_WEBHOOK_SECRET=f"whsec_old,{SECRET}"
    )
    daemon.start_web()
    yield daemon
    daemon.stop()
    backend.drop_database("web")


def event(id_: str = "evt_1", **changes: Any) -> dict[str, Any]:
    return {
        "id": id_,
        "object": "event",
        "api_version": "2026-10-28.endive",
        "created": 1_782_864_000,
        "livemode": False,
        "type": "customer.created",
        "data": {"object": {"id": "cus_1", "object": "customer", "name": "Jenny"}},
    } | changes


def encode(value: object) -> bytes:
    return json.dumps(value).encode()


def stored(web: Daemon, id_: str) -> tuple[Any, ...] | None:
    with psycopg.connect(web.database_url) as conn:
        return conn.execute(
            "select type, object_type, object_id, account, extract(epoch from created)::float8, body "
            "from sync.events where id = %s",
            (id_,),
        ).fetchone()


def test_a_signed_event_is_stored_verbatim_and_answered_200(web: Daemon) -> None:
    body = encode(event("evt_verbatim"))

    with web.connection() as connection:
        status, answer = deliver(connection, body)

    assert (status, answer["code"]) == (200, "stored")
    assert stored(web, "evt_verbatim") == ("customer.created", "customer", "cus_1", "", 1_782_864_000, body.decode())


def test_a_repeated_event_is_answered_200_and_changes_nothing(web: Daemon) -> None:
    with web.connection() as connection:
        deliver(connection, encode(event("evt_twice")))
        again = deliver(connection, encode(event("evt_twice", type="customer.updated")))

    row = stored(web, "evt_twice")
    assert again == (200, {"code": "duplicate"})
    assert row is not None
    assert row[0] == "customer.created"


def test_an_event_of_an_unknown_type_is_stored(web: Daemon) -> None:
    with web.connection() as connection:
        status, _ = deliver(connection, encode(event("evt_unknown", type="moon.landed", account="acct_1")))

    row = stored(web, "evt_unknown")
    assert status == 200
    assert row is not None
    assert (row[0], row[3]) == ("moon.landed", "acct_1")


def test_a_thin_event_is_stored_with_its_milliseconds(web: Daemon) -> None:
    thin = {
        "id": "evt_thin",
        "object": "v2.core.event",
        "type": "v1.customer.created",
        "created": "2026-07-01T00:00:00.137Z",
        "livemode": False,
        "context": None,
        "related_object": {"id": "cus_1", "type": "customer", "url": "/v1/customers/cus_1"},
    }

    with web.connection() as connection:
        status, _ = deliver(connection, encode(thin))

    row = stored(web, "evt_thin")
    assert status == 200
    assert row is not None
    assert row[1:5] == ("customer", "cus_1", "", 1_782_864_000.137)


def test_every_secret_is_tried(web: Daemon) -> None:
    body = encode(event("evt_old_secret"))

    with web.connection() as connection:
        status, _ = deliver(connection, body, stripe_signature=sign(body, secret="whsec_old"))

    assert status == 200


def signature_of(refused: str) -> str:
    """A Stripe-Signature header made now, with one error."""
    body, now = encode(event("evt_refused")), int(time.time())
    return {
        "none": "",
        "nonsense": "nonsense",
        "wrong digest": f"t={now},v1=00",
        "another body's": sign(b"another body"),
        "too old": sign(body, timestamp=now - 400),
        "too new": sign(body, timestamp=now + 400),
        "a second timestamp": f"x=1, t={now},{sign(body, timestamp=now - 400)}",
        "not ASCII": f"t={now},v1=\xe9",
    }[refused]


@pytest.mark.parametrize(
    ("code", "refused"),
    [
        ("bad_signature", "none"),
        ("bad_signature", "nonsense"),
        ("bad_signature", "wrong digest"),
        ("bad_signature", "another body's"),
        ("bad_timestamp", "too old"),
        ("bad_timestamp", "too new"),
        ("bad_signature", "a second timestamp"),
        ("bad_signature", "not ASCII"),
    ],
)
def test_a_body_without_a_recent_signature_by_a_configured_secret_is_answered_400(
    web: Daemon, code: str, refused: str
) -> None:
    with web.connection() as connection:
        body = encode(event("evt_refused"))
        status, answer = deliver(connection, body, stripe_signature=signature_of(refused))

    assert (status, answer["code"]) == (400, code)
    assert answer["message"]
    assert stored(web, "evt_refused") is None


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        encode({}),
        encode({"object": "event"}),
        encode(event("")),
        encode(event("x" * 3000)),
        encode(event(created="yesterday")),
        encode(event(created=10**15)),
        encode(event(data={})),
        encode(event(object="charge")),
        b"[" * 100_000,
        encode(event("evt_cut"))[:-20],
    ],
)
def test_a_signed_body_that_is_not_an_event_is_answered_400(web: Daemon, body: bytes) -> None:
    with web.connection() as connection:
        status, answer = deliver(connection, body)

    assert (status, answer["code"]) == (400, "not_an_event")


def test_a_body_that_is_not_utf_8_is_answered_400(web: Daemon) -> None:
    with web.connection() as connection:
        status, answer = deliver(connection, b'{"id": "\xff"}')

    assert (status, answer["code"]) == (400, "not_utf8")


def test_a_body_that_is_too_large_is_answered_413(web: Daemon) -> None:
    with web.connection() as connection:
        status, answer = deliver(connection, b" " * (MAX_BODY_BYTES + 1))

    assert (status, answer["code"]) == (413, "too_large")


def test_a_body_that_is_too_large_without_a_content_length_is_answered_413(web: Daemon) -> None:
    def endless() -> Iterator[bytes]:
        for _ in range(MAX_BODY_BYTES // 65536 + 2):
            yield b" " * 65536

    with web.connection() as connection:
        sent = {"content-type": "application/json", "stripe-signature": sign(b"")}
        connection.request("POST", "/webhooks/stripe", endless(), sent, encode_chunked=True)
        answer = connection.getresponse()

        assert answer.status == 413


def test_other_methods_are_answered_405(web: Daemon) -> None:
    status, answer = web.get("/webhooks/stripe")

    assert (status, json.loads(answer)["code"]) == (405, "method_not_allowed")


def test_other_media_types_are_answered_415(web: Daemon) -> None:
    with web.connection() as connection:
        status, answer = deliver(
            connection, encode(event("evt_form")), content_type="application/x-www-form-urlencoded"
        )

    assert (status, answer["code"]) == (415, "unsupported_media_type")


def test_an_aborted_request_is_not_stored_and_the_endpoint_continues(web: Daemon) -> None:
    body = encode(event("evt_broken_off"))
    with socket.create_connection(("127.0.0.1", web.port)) as client:
        head = (
            f"POST /webhooks/stripe HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
            f"stripe-signature: {sign(body)}\r\ncontent-length: {len(body)}\r\n\r\n"
        )
        client.sendall(head.encode() + body[:50])

    with web.connection() as connection:
        status, _ = deliver(connection, encode(event("evt_after_the_break")))

    assert status == 200
    assert stored(web, "evt_broken_off") is None


def test_only_nul_characters_are_removed(web: Daemon) -> None:
    body = (
        b'{"id": "evt_nul", "object": "event", "created": 1, "type": "customer.created", "data": {"object": '
        b'{"id": "cus_1", "object": "customer", "name": "a\\u0000b", "note": "\\\\u0000 \\\\\\u0000c"}}}'
    )

    with web.connection() as connection:
        status, _ = deliver(connection, body)

    row = stored(web, "evt_nul")
    assert status == 200
    assert row is not None
    assert json.loads(row[5])["data"]["object"] == {
        "id": "cus_1",
        "object": "customer",
        "name": "ab",
        "note": "\\u0000 \\c",
    }


def test_refused_requests_are_counted(web: Daemon) -> None:
    with web.connection() as connection:
        deliver(connection, b"{", stripe_signature="nonsense")

    status, metrics = web.get("/metrics", authorization="Bearer token")

    assert status == 200
    assert 'stripe_sync_events_refused_total{code="bad_signature"}' in metrics


@pytest.mark.parametrize("path", ["/metrics", "/v1/status", "/v1/changes"])
def test_operators_routes_need_the_token(web: Daemon, path: str) -> None:
    without, _ = web.get(path)
    wrong, _ = web.get(path, authorization="Bearer guess")
    right, _ = web.get(path, authorization="Bearer token")

    assert (without, wrong, right) == (401, 401, 200)


def test_changes_are_read_in_pages_after_an_id(web: Daemon) -> None:
    with psycopg.connect(web.database_url, autocommit=True) as conn:
        conn.execute(
            """
            insert into sync.change_drafts (user_id, type, before, after, reason)
            select 'u' || n, 'tokens.low', '{"tokens": 9}', '{"tokens": 1}', 'below_threshold' from generate_series(1, 3) as n
            """
        )

    def page(query: str) -> tuple[int, dict[str, Any]]:
        status, answer = web.get(f"/v1/changes{query}", authorization="Bearer token")
        return status, json.loads(answer)

    first, second = page("?limit=2")[1], page("?after=2")[1]
    assert [change["id"] for change in first["data"]] == [1, 2]
    assert (first["has_more"], second["has_more"]) == (True, False)
    assert [change.pop("timestamp")[-1] for change in second["data"]] == ["Z"]
    assert second["data"] == [
        {
            "id": 3,
            "type": "tokens.low",
            "user_id": "u3",
            "data": {"before": {"tokens": 9}, "after": {"tokens": 1}, "reason": "below_threshold"},
        }
    ]
    assert page("?after=3") == (200, {"data": [], "has_more": False})
    assert [page(query)[0] for query in ("?after=-1", "?limit=0", "?limit=1001", "?after=x")] == [400] * 4


def test_ready_checks_the_schema_the_broker_and_the_inbox(web: Daemon) -> None:
    status, answer = web.get("/readyz")

    assert status == 200
    assert json.loads(answer)["checks"] == {"database": "ok", "broker": "ok", "inbox": "ok"}


def test_ready_distinguishes_a_newer_schema_from_an_older_one(web: Daemon) -> None:
    with psycopg.connect(web.database_url, autocommit=True) as conn:
        (head,) = conn.execute("select version_num from sync.alembic_version").fetchone() or ("",)
        try:
            conn.execute("update sync.alembic_version set version_num = '9999'")
            newer, of_newer = web.get("/readyz")
            conn.execute("update sync.alembic_version set version_num = %s", (head,))
            conn.execute("comment on schema sync is null")
            older, of_older = web.get("/readyz")
        finally:
            conn.execute("update sync.alembic_version set version_num = %s", (head,))
            conn.execute(sql.SQL("comment on schema sync is {}").format(SYNC_MARK))

    assert (newer, json.loads(of_newer)["status"]) == (200, "ok")
    assert "a newer release migrated it" in json.loads(of_newer)["notes"]["schema"]
    assert (older, json.loads(of_older)["status"]) == (503, "not_ready")
    assert "made by a version before the first release" in json.loads(of_older)["checks"]["database"]


def test_an_inbox_that_is_not_drained_makes_the_process_not_ready(web: Daemon) -> None:
    with psycopg.connect(web.database_url, autocommit=True) as conn:
        conn.execute(
            """
            insert into sync.events (id, type, livemode, created, received_at, body)
            values ('evt_forgotten', 'x', false, now(), now() - interval '1 hour', '{}')
            """
        )
        status, answer = web.get("/readyz")
        conn.execute("delete from sync.events where id = 'evt_forgotten'")

    assert status == 503
    assert "worker" in json.loads(answer)["checks"]["inbox"]


def test_without_tables_web_answers_503_and_says_to_migrate(
    backend: Backend, empty_database: str, tmp_path: Path
) -> None:
    daemon = Daemon(empty_database, backend.redis_url, tmp_path)
    daemon.start_web()

    status, answer = daemon.get("/readyz")
    with daemon.connection() as connection:
        refused, _ = deliver(connection, encode(event()))
    daemon.stop()

    assert (status, refused) == (503, 503)
    assert "db migrate" in json.loads(answer)["checks"]["database"]
    assert "schema.not_current" in daemon.logs()


@pytest.mark.parametrize("secret", ["", "  ", "whsec_good,", "sk_test_wrong"])
def test_without_a_secret_the_process_stops_at_start(
    backend: Backend, database: str, tmp_path: Path, secret: str
) -> None:
    daemon = Daemon(database, backend.redis_url, tmp_path, STRIPE_WEBHOOK_SECRET=secret)

    process = daemon.start("web")

    assert process.wait(30) == 1
    assert "STRIPE_WEBHOOK_SECRET" in daemon.logs()


def test_an_unreachable_broker_delays_no_request(database: str, tmp_path: Path) -> None:
    daemon = Daemon(database, "redis://127.0.0.1:1/0", tmp_path)
    daemon.start_web()

    with daemon.connection() as connection:
        status, _ = deliver(connection, encode(event("evt_no_broker")))
    ready, _ = daemon.get("/readyz")
    eventually(lambda: "broker.unreachable" in daemon.logs())
    daemon.stop()

    assert (status, ready) == (200, 503)


def test_read_returns_the_event_s_id_type_object_and_time() -> None:
    body = encode(event("evt_pure"))

    envelope = read(body, sign(body, timestamp=1000), ["whsec_test"], now=1100)

    assert (envelope.id, envelope.type, envelope.object_id, envelope.created) == (
        "evt_pure",
        "customer.created",
        "cus_1",
        1_782_864_000,
    )


def test_an_old_signature_is_refused() -> None:
    body = encode(event())

    with pytest.raises(Refused, match="too far"):
        read(body, sign(body, timestamp=1000), ["whsec_test"], now=1301)
