"""Traces: a local collector receives the spans of an event, from its request to the computed user, and of Stripe requests."""

import http.server
import json
import threading
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests import factories, sandboxes
from tests.backends import Backend
from tests.processes import SECRET, Daemon, deliver, eventually

pytestmark = pytest.mark.system


@dataclass
class Collector:
    """The received spans and changes, and the address that receives them."""

    address: str = ""
    spans: list[Span] = field(default_factory=list)
    # The header `traceparent` of the newest change of each user.
    called: dict[str, str] = field(default_factory=dict)

    def named(self, name: str) -> list[Span]:
        return [span for span in self.spans if span.name == name]


@pytest.fixture
def collector() -> Iterator[Collector]:
    collected = Collector()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            if self.path == "/changes":
                collected.called[json.loads(body)["data"]["user_id"]] = self.headers["traceparent"]
            else:
                request = ExportTraceServiceRequest.FromString(body)
                collected.spans += [s for r in request.resource_spans for scope in r.scope_spans for s in scope.spans]
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        collected.address = f"http://127.0.0.1:{server.server_port}"
        yield collected
        server.shutdown()
        thread.join()


@pytest.fixture
def daemon(backend: Backend, database: str, tmp_path: Path, collector: Collector) -> Iterator[Daemon]:
    with sandboxes.running() as stripe:
        running = Daemon(
            database,
            backend.redis_url,
            tmp_path,
            STRIPE_SECRET_KEY=sandboxes.KEY,
            STRIPE_API_BASE=stripe.address,
            STRIPE_WEBHOOK_SECRET=f"{SECRET}@{stripe.get('/v1/account')['id']}",
            OTEL_EXPORTER_OTLP_ENDPOINT=collector.address,
            OTEL_BSP_SCHEDULE_DELAY="100",
            OTEL_TRACES_SAMPLER="always_on",
            CHANGES_URL=f"{collector.address}/changes",
            CHANGES_SECRET="whsec_" + b64encode(b"x" * 32).decode(),
            CHANGES_ALLOW_PRIVATE="true",
        )
        yield running
        running.stop()


def send(daemon: Daemon, user: str) -> None:
    send_event(
        daemon, factories.event("customer.created", factories.customer(f"cus_{user}", user_id=user), id=f"evt_{user}")
    )


def send_event(daemon: Daemon, event: factories.Json) -> None:
    with daemon.connection() as connection:
        assert deliver(connection, factories.encoded(event))[0] == 200


def test_one_trace_leads_from_the_request_to_the_user(daemon: Daemon, collector: Collector) -> None:
    def traces_of(name: str) -> set[bytes]:
        return {span.trace_id for span in collector.named(name)}

    with psycopg.connect(daemon.database_url) as conn:
        conn.execute(
            "insert into users (id, email) select id, id || '@example.com' from unnest('{a,b,c}'::text[]) as u (id)"
        )
    daemon.start_web()
    # Two events that wait for the webhook secret to be proven form one batch. A third arrives alone.
    send(daemon, "a")
    send(daemon, "b")
    daemon.start("worker")
    daemon.start("beat")
    eventually(lambda: daemon.count("select count(*) from sync.events where status = 'done'") == 2)
    send(daemon, "c")
    eventually(lambda: len(collector.named("events.apply")) == 2 and len(collector.named("users.compute")) == 2)
    # The audit also reads products.
    eventually(lambda: traces_of("GET /v1/products") & traces_of("task product_refresh"))

    requests = sorted(collector.named("POST /webhooks/stripe"), key=lambda span: span.start_time_unix_nano)
    both, alone = sorted(collector.named("events.apply"), key=lambda span: span.start_time_unix_nano)
    assert {link.span_id for link in both.links} == {span.span_id for span in requests[:2]}
    assert alone.trace_id == requests[2].trace_id
    computed = {span.trace_id: span for span in collector.named("users.compute")}
    assert computed[alone.trace_id].parent_span_id == alone.span_id
    assert computed[both.trace_id].parent_span_id == both.span_id
    lines = [json.loads(line) for line in daemon.logs().splitlines() if '"batch.applied"' in line]
    assert alone.trace_id.hex() in {line.get("trace_id") for line in lines}


def test_one_trace_leads_from_the_request_to_the_call_for_the_change(daemon: Daemon, collector: Collector) -> None:
    with psycopg.connect(daemon.database_url) as conn:
        conn.execute("insert into users (id, email) values ('a', 'a@example.com')")
    daemon.start_web()
    daemon.start("worker")
    daemon.start("beat")
    send(daemon, "a")
    eventually(lambda: daemon.count("select count(*) from sync.events where status = 'done'") == 1)

    send_event(
        daemon, factories.event("customer.subscription.created", factories.subscription("sub_a", customer="cus_a"))
    )
    called = eventually(lambda: collector.called.get("a"))
    eventually(
        lambda: called in {f"00-{s.trace_id.hex()}-{s.span_id.hex()}-01" for s in collector.named("change.send")}
    )
    trace_id = bytes.fromhex(called.split("-")[1])
    names = ("POST /webhooks/stripe", "events.apply", "users.compute", "change.send")
    eventually(lambda: {span.name for span in collector.spans if span.trace_id == trace_id} >= set(names))

    request, batch, user, change = (
        next(span for span in collector.named(name) if span.trace_id == trace_id) for name in names
    )
    assert batch.parent_span_id == request.span_id
    assert user.parent_span_id == batch.span_id
    assert change.parent_span_id == user.span_id
