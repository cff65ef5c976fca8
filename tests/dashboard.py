"""Write deploy/grafana/stripe-sync.json: `python -m tests.dashboard`."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PAGE = Path(__file__).parent.parent / "deploy" / "grafana" / "stripe-sync.json"
WIDTH, HEIGHT = 8, 7


@dataclass(frozen=True, slots=True)
class Panel:
    """A panel: its title, its unit (as Grafana names it), and its expressions by legend."""

    title: str
    unit: str
    expressions: dict[str, str]


def rate(name: str, by: str = "") -> str:
    return f"sum{f' by ({by})' if by else ''} (rate(stripe_sync_{name}[$__rate_interval]))"


def quantile(share: float, name: str, by: str = "") -> str:
    labels = f"le, {by}" if by else "le"
    return f"histogram_quantile({share}, sum by ({labels}) (rate(stripe_sync_{name}_bucket[$__rate_interval])))"


def latency(name: str) -> dict[str, str]:
    return {"p50": quantile(0.5, name), "p99": quantile(0.99, name)}


def gauge(name: str, by: str = "") -> str:
    # Every web process shows the same values, so their sum would be too high.
    return f"max{f' by ({by})' if by else ''} (stripe_sync_{name})"


ROWS: dict[str, tuple[Panel, ...]] = {
    "Events": (
        Panel(
            "Events a second",
            "cps",
            {
                "received": rate("events_received_total"),
                "applied": rate("events_applied_total"),
                "refused: {{code}}": rate("events_refused_total", "code"),
            },
        ),
        Panel("From the commit of an event to the commit of its rows", "s", latency("event_latency_seconds")),
        Panel("From a request's first byte to its 200", "s", latency("door_seconds")),
        Panel(
            "Inbox", "short", {"pending": gauge("pending"), "parked": gauge("parked"), "unsettled": gauge("unsettled")}
        ),
        Panel("Outcomes of events", "cps", {"{{outcome}}": rate("events_applied_total", "outcome")}),
        Panel("Failed events", "cps", {"{{outcome}}": rate("events_put_off_total", "outcome")}),
    ),
    "Workers": (
        Panel("Child processes by lane", "short", {"{{lane}}": gauge("lane_processes", "lane")}),
        Panel("Age of due work by lane", "s", {"{{lane}}": gauge("queue_age_seconds", "lane")}),
        Panel("One batch of events", "s", latency("batch_seconds")),
        Panel("Messages in the broker", "short", {"{{queue}}": gauge("queue_length", "queue")}),
        Panel("Wake-ups", "cps", {"{{outcome}}": rate("wake_ups_total", "outcome")}),
        Panel("Time since each periodic job last succeeded", "s", {"{{name}}": gauge("job_age_seconds", "name")}),
    ),
    "Changes of users": (
        Panel("Changes that wait for the receiver", "short", {"waiting": gauge("changes_pending")}),
        Panel("Age of the oldest waiting change", "s", {"age": gauge("oldest_pending_change_seconds")}),
        Panel("Parked changes", "short", {"parked": gauge("changes_parked")}),
    ),
    "Stripe": (
        Panel("Requests to Stripe", "reqps", {"{{outcome}}": rate("stripe_requests_total", "outcome")}),
        Panel("Time of a request, p99", "s", {"{{operation}}": quantile(0.99, "stripe_request_seconds", "operation")}),
        Panel("Waiting for the rate limit", "s", latency("stripe_rate_wait_seconds")),
        Panel(
            "Objects that wait to be read",
            "short",
            {"objects": gauge("fetch_queue"), "read: {{outcome}}": rate("fetches_total", "outcome")},
        ),
        Panel("Lag of catch-up", "s", {"lag": gauge("catch_up_lag_seconds")}),
        Panel("Problems of the webhook endpoint", "short", {"{{kind}}": gauge("endpoint_problem", "kind")}),
        Panel("Customers without a user", "short", {"customers": gauge("unlinked_customers")}),
    ),
}


def render() -> str:
    """The dashboard as JSON, as Grafana imports it."""
    panels: list[dict[str, Any]] = []
    y = 0
    for row, contents in ROWS.items():
        panels.append({"type": "row", "title": row, "collapsed": False, "gridPos": {"x": 0, "y": y, "w": 24, "h": 1}})
        y += 1
        for number, panel in enumerate(contents):
            position = {"x": number % 3 * WIDTH, "y": y + number // 3 * HEIGHT, "w": WIDTH, "h": HEIGHT}
            panels.append(_panel(panel, position))
        y += (len(contents) + 2) // 3 * HEIGHT
    dashboard = {
        "uid": "stripe-sync",
        "title": "stripe-sync",
        "tags": ["stripe-sync"],
        "schemaVersion": 39,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "templating": {
            "list": [{"name": "datasource", "type": "datasource", "query": "prometheus", "label": "Data source"}]
        },
        "panels": [{"id": number, **panel} for number, panel in enumerate(panels, 1)],
    }
    return json.dumps(dashboard, indent=1) + "\n"


def _panel(panel: Panel, position: dict[str, int]) -> dict[str, Any]:
    source = {"type": "prometheus", "uid": "${datasource}"}
    return {
        "type": "timeseries",
        "title": panel.title,
        "gridPos": position,
        "datasource": source,
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
        "targets": [
            {"refId": chr(ord("A") + number), "expr": expression, "legendFormat": legend, "datasource": source}
            for number, (legend, expression) in enumerate(panel.expressions.items())
        ],
    }


if __name__ == "__main__":
    PAGE.write_text(render())
