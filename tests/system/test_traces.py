"""Traces: a collector on loopback sees one event's way from the request to the computed user, and requests to Stripe."""

import http.server
import json
import threading
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
    """The spans that came, and the address that takes them."""

    address: str = ""
    spans: list[Span] = field(default_factory=list)

    def named(self, name: str) -> list[Span]:
        return [span for span in self.spans if span.name == name]


@pytest.fixture
def collector() -> Iterator[Collector]:
    collected = Collector()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            request = ExportTraceServiceRequest.FromString(self.rfile.read(int(self.headers["content-length"])))
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
        )
        yield running
        running.stop()


def send(daemon: Daemon, user: str) -> None:
    event = factories.event("customer.created", factories.customer(f"cus_{user}", user_id=user), id=f"evt_{user}")
    with daemon.connection() as connection:
        assert deliver(connection, factories.encoded(event))[0] == 200


def test_one_trace_leads_from_the_request_to_the_user(daemon: Daemon, collector: Collector) -> None:
    with psycopg.connect(daemon.database_url) as conn:
        conn.execute(
            "insert into users (id, email) select id, id || '@example.com' from unnest('{a,b,c}'::text[]) as u (id)"
        )
    daemon.start_web()
    # Two events that wait until the secret is known to be ours are one batch; a third comes alone.
    send(daemon, "a")
    send(daemon, "b")
    daemon.start("worker")
    daemon.start("beat")
    eventually(lambda: daemon.count("select count(*) from sync.events where status = 'done'") == 2)
    send(daemon, "c")
    eventually(lambda: len(collector.named("events.apply")) == 2 and len(collector.named("users.compute")) == 2)
    eventually(lambda: collector.named("GET /v1/products"))
    eventually(lambda: collector.named("task product_refresh"))

    requests = sorted(collector.named("POST /webhooks/stripe"), key=lambda span: span.start_time_unix_nano)
    both, alone = sorted(collector.named("events.apply"), key=lambda span: span.start_time_unix_nano)
    assert {link.span_id for link in both.links} == {span.span_id for span in requests[:2]}
    assert alone.trace_id == requests[2].trace_id
    computed = {span.trace_id: span for span in collector.named("users.compute")}
    assert computed[alone.trace_id].parent_span_id == alone.span_id
    assert computed[both.trace_id].parent_span_id == both.span_id
    asked, tasks = collector.named("GET /v1/products")[0], collector.named("task product_refresh")
    assert asked.trace_id in {task.trace_id for task in tasks}
    lines = [json.loads(line) for line in daemon.logs().splitlines() if '"batch.applied"' in line]
    assert alone.trace_id.hex() in {line.get("trace_id") for line in lines}
