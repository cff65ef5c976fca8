"""The console's pages. Each reads the data for its template, without writing or locking."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import psycopg

from worker.config.settings import Settings
from worker.jobs import status
from worker.membership import recompute_all
from worker.membership.compute import policy_of
from worker.membership.rules.outcome import Outcome
from worker.membership.store import links
from worker.membership.why import why
from worker.mirror import history, revenue_summary
from worker.postgres.pool import snapshot
from worker.stripe_api.client import rate_of
from worker.stripe_api.lists import LISTS
from worker.web.console import (
    charts,
    read_backfill,
    read_catalogue,
    read_health,
    read_inbox,
    read_users,
    render,
)
from worker.web.console.read_inbox import Filters

STATUSES = ("pending", "parked", "done")
PLAN_SHOWN = 50
PLAN_SECONDS, PLAN_BATCH = 0.1, 50


@dataclass(frozen=True, slots=True)
class PageRequest:
    """The input of a page: a connection in autocommit, the settings, the query parameters and the path parameters."""

    conn: psycopg.Connection
    settings: Settings
    query: Mapping[str, str]
    path: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class View:
    """A template and its values."""

    template: str
    values: Mapping[str, Any]


Build = Callable[[PageRequest], View | None]


def health(request: PageRequest) -> View:
    minutes = read_health.minutes(request.conn)
    labels = [f"{row['minute']:%H:%M}" for row in minutes]
    return View(
        "health.html",
        {
            "status": status.status(request.conn),
            "has_key": request.settings.stripe_secret_key is not None,
            "workers": read_health.workers(request.conn),
            "runs": read_health.runs(request.conn),
            "drift": read_health.drift(request.conn),
            "latency": read_health.latency(request.conn),
            "received": charts.line(labels, [row["received"] for row in minutes], " events"),
            "applied": charts.line(labels, [row["applied"] for row in minutes], " events"),
            "requests": charts.line(labels, [row["requests"] for row in minutes], " requests"),
            "requests_allowed": round(60 * rate_of(request.settings)) if request.settings.stripe_secret_key else None,
        },
    )


def inbox(request: PageRequest) -> View:
    query = request.query
    filters = Filters(
        status=query.get("status") if query.get("status") in STATUSES else None,
        type=query.get("type") or None,
        object=query.get("object") or None,
        account=query.get("account") or None,
        error=query.get("error") or None,
        until=_moment(query.get("until")),
        before=_moment(query.get("before")),
        before_id=query.get("before_id"),
    )
    page = read_inbox.events(request.conn, filters)
    first = not query.get("before")
    groups = read_inbox.parked_groups(request.conn) if first and filters.status in (None, "parked") else []
    return View("inbox.html", {"page": page, "groups": groups, "statuses": STATUSES, "searched": read_inbox.SEARCHED})


def event(request: PageRequest) -> View | None:
    row = read_inbox.event(request.conn, request.path["id"])
    return View("event.html", {"event": row}) if row is not None else None


def users(request: PageRequest) -> View:
    text = request.query.get("q", "").strip()
    rows = read_users.search(request.conn, text, after=request.query.get("after", ""))
    more = len(rows) > read_users.PAGE and not text
    unlinked = links.unlinked(request.conn, limit=20) if not text else []
    return View("users.html", {"rows": rows[: read_users.PAGE], "more": more, "unlinked": unlinked})


def user(request: PageRequest) -> View | None:
    id_ = request.path["id"]
    with snapshot(request.conn):
        explained = why(request.conn, id_, policy_of(request.settings), entries=50)
        if explained is None:
            return None
        id_ = explained.user
        timeline, balances = read_users.timeline(request.conn, id_), read_users.balance(request.conn, id_)
    labels = [f"{row['created_at']:%Y-%m-%d}" for row in balances]
    chart = charts.line(labels, [row["balance_after"] for row in balances], " tokens")
    return View("user.html", {"why": explained, "timeline": timeline, "balance": chart, "balances": balances})


def object_(request: PageRequest) -> View | None:
    id_ = request.path["id"]
    rows, versions = history.find(request.conn, id_), history.versions(request.conn, id_)
    if not rows and not versions:
        return None
    return View(
        "object.html",
        {
            "id": id_,
            "rows": rows,
            "history": versions,
            "drift": history.drift(request.conn, id_),
        },
    )


def object_search(request: PageRequest) -> View | None:
    """The search form, or the object with the given id. If it is the id of an event, the event."""
    id_ = request.query.get("id", "").strip()
    if not id_:
        return View("objects.html", {})
    return (event if id_.startswith("evt_") else object_)(replace(request, path={"id": id_}))


def catalogue(request: PageRequest) -> View:
    return View("catalogue.html", {"products": read_catalogue.products(request.conn)})


def revenue(request: PageRequest) -> View:
    """MRR of the last year, and movements and churn of the last months, in one currency."""
    summary = revenue_summary.read(request.conn)
    if summary is None or not summary.currencies:
        return View("revenue.html", {"currency": None, "summary": summary})
    chosen = request.query.get("currency", "")
    currency = chosen if chosen in summary.currencies else next(iter(summary.currencies))
    days, months, products = (summary.currencies[currency][name] for name in ("days", "months", "products"))
    units = 1 if render.is_zero_decimal(currency) else 100
    labels = [row["month"][:7] for row in months]
    return View(
        "revenue.html",
        {
            "summary": summary,
            "currency": currency,
            "currencies": list(summary.currencies),
            "now": days[-1],
            "days": days,
            "months": months,
            "products": products,
            "mrr_chart": charts.line([row["day"] for row in days], [row["mrr"] / units for row in days]),
            "net_chart": charts.bars(labels, [row["net"] / units for row in months]),
            "churn_chart": charts.bars(labels, [(row["customer_churn"] or 0) * 100 for row in months], " %"),
        },
    )


def plan(request: PageRequest) -> View:
    """The next users that `membership apply` would change, in the order of their ids.

    The search starts after the user `after`, stops after PLAN_SECONDS, and reports how far it got.
    """
    changing: list[tuple[str, Outcome]] = []
    looked, ends = 0, time.monotonic() + PLAN_SECONDS
    after: str | None = request.query.get("after", "")
    for piece in recompute_all.plan(request.conn, policy_of(request.settings), after=after or "", batch=PLAN_BATCH):
        looked, after = looked + piece.users, piece.last
        changing += piece.changing.items()
        if len(changing) >= PLAN_SHOWN or time.monotonic() > ends:
            break
    return View("plan.html", {"changing": changing, "looked": looked, "after": after, **plan_progress(request).values})


def plan_progress(request: PageRequest) -> View:
    return View("plan_progress.html", {"progress": read_catalogue.progress(request.conn)})


def backfill(request: PageRequest) -> View:
    """The newest backfill, and connected accounts. The page refreshes the progress from `backfill_progress`."""
    values = backfill_progress(request).values
    return View("backfill.html", {**values, "accounts": read_backfill.accounts(request.conn), "lists": list(LISTS)})


def backfill_progress(request: PageRequest) -> View:
    return View("backfill_progress.html", {"progress": read_backfill.progress(request.conn)})


def settings(request: PageRequest) -> View:
    return View("settings.html", {"rows": read_health.settings(request.settings)})


def _moment(text: str | None) -> datetime | None:
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


PAGES: Mapping[str, Build] = {
    "/": health,
    "/inbox": inbox,
    "/inbox/{id}": event,
    "/users": users,
    "/users/{id}": user,
    "/objects": object_search,
    "/objects/{id}": object_,
    "/catalogue": catalogue,
    "/catalogue/plan": plan,
    "/catalogue/progress": plan_progress,
    "/revenue": revenue,
    "/backfill": backfill,
    "/backfill/progress": backfill_progress,
    "/settings": settings,
}
