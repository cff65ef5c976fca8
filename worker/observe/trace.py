"""OpenTelemetry traces, sent to OTEL_EXPORTER_OTLP_ENDPOINT. Without that setting, the functions here do nothing.

Each event has its own trace. A batch of one event belongs to that event's trace. A larger batch has its own trace, with
links to its events' traces.
"""

import contextlib
import contextvars
import os
import random
from collections.abc import Callable, Collection, Iterable, Mapping
from importlib import metadata
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from opentelemetry import trace
from opentelemetry.trace import Link, Span, SpanKind, Tracer
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from worker.config.errors import Permanent

if TYPE_CHECKING:
    from worker.config.settings import Settings

SERVER, CLIENT, CONSUMER, INTERNAL = SpanKind.SERVER, SpanKind.CLIENT, SpanKind.CONSUMER, SpanKind.INTERNAL

P = ParamSpec("P")
T = TypeVar("T")

# A kept span costs 60 us of CPU including its export, and a dropped span 10 us. Keeping a tenth costs less than 3 % of the
# work for an event.
SAMPLED_SHARE = 0.1
_NEEDED = ("opentelemetry.sdk.trace", "opentelemetry.exporter.otlp.proto.http.trace_exporter")
_OFF: contextlib.AbstractContextManager[Span | None] = contextlib.nullcontext()
_context = TraceContextTextMapPropagator()
_tracer: Tracer | None = None
# The tracer whose spans are always kept.
_keeping: Tracer | None = None
_share = 1.0
_provider: Any = None


class NotInstalled(Permanent):
    """Tracing is configured, but its packages are not installed."""


def require(settings: "Settings") -> None:
    """Raise NotInstalled if tracing is configured, but the extra `otel` is not installed."""
    if settings.otel_exporter_otlp_endpoint is not None and not all(map(_is_installed, _NEEDED)):
        raise NotInstalled(
            "OTEL_EXPORTER_OTLP_ENDPOINT is set, but OpenTelemetry's SDK is not installed: run "
            '`pip install "stripe-sync[otel]"`, or unset it'
        )


def _is_installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def configure(settings: "Settings", *, process: str) -> None:
    """Start tracing in this process, if the settings name a destination.

    Call it after the fork, because it starts a thread that sends the spans.
    """
    global _tracer, _keeping, _share, _provider
    if settings.otel_exporter_otlp_endpoint is None or _tracer is not None:
        return
    require(settings)
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import OTELResourceDetector, Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
    from opentelemetry.sdk.trace.sampling import ALWAYS_ON, ParentBased, TraceIdRatioBased

    # The SDK reads the other OTEL_* variables: sampler, headers, time-outs, attributes. Its default sampler keeps all spans.
    facts = {
        "service.name": "stripe-sync",
        "service.version": metadata.version("stripe-sync"),
        "stripe_sync.process": process,
    }
    is_ours = "OTEL_TRACES_SAMPLER" not in os.environ
    sampler = ParentBased(TraceIdRatioBased(SAMPLED_SHARE)) if is_ours else None
    resource = Resource(facts).merge(OTELResourceDetector().detect())
    exporter = OTLPSpanExporter(endpoint=settings.otel_exporter_otlp_endpoint.rstrip("/") + "/v1/traces")
    processor = BatchSpanProcessor(exporter)
    _provider, keeping = TracerProvider(sampler, resource), TracerProvider(ALWAYS_ON, resource, shutdown_on_exit=False)
    for provider in (_provider, keeping):
        provider.add_span_processor(processor)
    _tracer, _keeping = _provider.get_tracer("stripe_sync"), keeping.get_tracer("stripe_sync")
    _share = SAMPLED_SHARE if is_ours else 1.0


def is_on() -> bool:
    return _tracer is not None


def shutdown() -> None:
    """Send the remaining spans, and stop tracing."""
    global _tracer
    if _provider is not None:
        _tracer = None
        _provider.shutdown()


def span(
    name: str,
    *,
    kind: SpanKind = INTERNAL,
    parent: str | None = None,
    links: Iterable[str] = (),
    attributes: Mapping[str, Any] | None = None,
) -> contextlib.AbstractContextManager[Span | None]:
    """A span for the block, as a child of `parent` or else of the current span. Yields the span, or None if tracing is off.

    `parent` and `links` are `traceparent` values.
    """
    if _tracer is None:
        return _OFF
    return _tracer.start_as_current_span(
        name,
        context=_context.extract({"traceparent": parent}) if parent else None,
        kind=kind,
        attributes=attributes,
        links=[
            Link(trace.get_current_span(_context.extract({"traceparent": each})).get_span_context()) for each in links
        ],
    )


def delivery(name: str, *, parent: str | None) -> contextlib.AbstractContextManager[Span | None]:
    """A span for a request without child spans. It is sampled before it is made, because even a dropped span costs 10 us."""
    if _tracer is None or _keeping is None:
        return _OFF
    if parent is not None or _share == 1.0:
        return span(name, kind=SERVER, parent=parent)
    if random.random() >= _share:  # noqa: S311 - a sample
        return _OFF
    return _keeping.start_as_current_span(name, kind=SERVER)


def batch(name: str, parents: Collection[str | None]) -> contextlib.AbstractContextManager[Span | None]:
    """A span for work that several spans requested. If there is only one, it is the parent; otherwise all are linked."""
    if _tracer is None:
        return _OFF
    known = sorted({each for each in parents if each is not None})
    attributes = {"messaging.batch.message_count": len(parents)}
    if len(known) == 1 and len(parents) == 1:
        return span(name, kind=CONSUMER, parent=known[0], attributes=attributes)
    return span(name, kind=CONSUMER, links=known, attributes=attributes)


def carry(function: Callable[P, T]) -> Callable[P, T]:
    """Wrap the function for another thread, so that it runs in the current span."""
    if _tracer is None:
        return function
    present = contextvars.copy_context()

    def carried(*arguments: P.args, **options: P.kwargs) -> T:
        return present.copy().run(function, *arguments, **options)

    return carried


def note(attribute: str, value: str | int) -> None:
    """Add an attribute to the current span."""
    trace.get_current_span().set_attribute(attribute, value)


def traceparent() -> str | None:
    """The current span as a W3C `traceparent` value, for the next process; None if the span is not sampled."""
    if _tracer is None or not (now := trace.get_current_span().get_span_context()).trace_flags.sampled:
        return None
    return f"00-{now.trace_id:032x}-{now.span_id:016x}-01"


def add_ids(_: Any, __: str, event: dict[str, Any]) -> dict[str, Any]:
    """Add the ids of the current span. This is a structlog processor."""
    if _tracer is not None and (now := trace.get_current_span().get_span_context()).is_valid:
        event |= {"trace_id": f"{now.trace_id:032x}", "span_id": f"{now.span_id:016x}"}
    return event
