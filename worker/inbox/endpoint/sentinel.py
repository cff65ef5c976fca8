"""The sentinel reads our webhook endpoints and the latest undelivered events from Stripe, and records problems.

It runs every few minutes. `status`, the metrics and the console show the result of the last run. The start and the end of
a problem are logged once.
"""

import json
import time
import typing
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

import psycopg

from worker.config.settings import Settings
from worker.inbox import secrets
from worker.inbox import store as inbox
from worker.inbox.endpoint import both_versions, rules
from worker.inbox.endpoint.both_versions import Source
from worker.inbox.endpoint.rules import Endpoint, Flow, Problem
from worker.inbox.secrets import Secret
from worker.observe import log
from worker.postgres import counters, cursors, runs
from worker.stripe_api.answers import API_VERSION
from worker.stripe_api.errors import MissingPermission

_log = log.get("endpoint")

KINDS = ("missing", "disabled", "types", "version", "mode", "stopped", "failing", "secret")
JOB, CURSOR = "endpoint_check", "endpoint"
# Only undelivered events of this age count. Stripe may still be delivering younger ones, and older ones are from a past
# outage.
FROM_SECONDS, TO_SECONDS = 3 * 3600, 600
# If an event arrived this long after its creation, its first delivery failed.
LATE_SECONDS = 20
COUNTED = {
    "delivered": "events_received ",
    "caught_up": counters.CAUGHT_UP,
    "other_mode": 'events_applied {"outcome": "other_mode"}',
    "bad_signatures": 'events_refused {"code": "bad_signature"}',
}


def tick(conn: psycopg.Connection, stripe: Callable[[], Source], settings: Settings, slot: datetime) -> None:
    """Check the endpoints, unless this was already done for the scheduled time `slot`, and record the problems."""
    with runs.slot(conn, JOB, slot) as run:
        if run is None:
            return
        before = cursors.read(conn, CURSOR) or {}
        now = _counts(conn)
        wrong = look(conn, stripe(), settings, since=before.get("counts"), counts=now)
        run.result = {"problems": [_as_json(problem) for problem in wrong]}
        cursors.save(conn, CURSOR, {"counts": now, **run.result})
        _say(before.get("problems", []), run.result["problems"])


def look(
    conn: psycopg.Connection,
    stripe: Source,
    settings: Settings,
    *,
    since: Mapping[str, int] | None = None,
    counts: Mapping[str, int] | None = None,
) -> list[Problem]:
    """All current problems of our endpoints.

    `since` and `counts` are the counts of the last run and of this one. Without `counts`, the current counts are compared
    with the saved counts of the last run.
    """
    if counts is None:
        saved = cursors.read(conn, CURSOR) or {}
        since, counts = saved.get("counts"), _counts(conn)
    flow = {name: number - since.get(name, number) for name, number in counts.items()} if since else {}
    endpoints = read(stripe)
    foreign = [each for each in secrets.known(conn) if each.verdict == secrets.FOREIGN]
    return [_of_another_account(each) for each in foreign] + rules.problems(
        endpoints,
        url=settings.webhook_url,
        version=API_VERSION,
        livemode=settings.livemode,
        required=() if _all_wanted(endpoints) else required_types(),
        flow=Flow(**flow, failed=_failed(conn, stripe)),
    )


def _of_another_account(secret: Secret) -> Problem:
    return Problem(
        "secret",
        "",
        f"the webhook secret {secret.id} belongs to another Stripe account: {secret.reason}. Its deliveries are refused",
        "remove it from STRIPE_WEBHOOK_SECRET (`stripe-sync doctor` shows which one it is), and remove that account's endpoint. "
        "Another account needs its own daemon and database. If the secret is ours, bind it: whsec_...@acct_...",
    )


def problems(conn: psycopg.Connection) -> list[dict[str, str]]:
    """The problems of the last run: `kind`, `endpoint`, `detail` and `fix` of each."""
    return list((cursors.read(conn, CURSOR) or {}).get("problems", []))


def has_signed(conn: psycopg.Connection, mark: str) -> bool:
    """Whether an event has been stored that was signed with the secret of this fingerprint."""
    return any(
        key.startswith("events_signed ") and json.loads(key.partition(" ")[2]).get("secret") == mark
        for key in counters.read(conn)
    )


def read(stripe: Source) -> list[Endpoint] | None:
    """All endpoints of the account that deliver to a URL; None if the key may not read them."""
    try:
        return both_versions.read(stripe)
    except MissingPermission:
        return None


def required_types() -> list[str]:
    """Every event type that an endpoint of the pinned API version can receive."""
    from stripe.params import WebhookEndpointCreateParams  # slow to import, and seldom needed

    return list(typing.get_args(typing.get_args(WebhookEndpointCreateParams.__annotations__["enabled_events"])[0]))


def _all_wanted(endpoints: Sequence[Endpoint] | None) -> bool:
    return all("*" in endpoint.types for endpoint in endpoints or ())


def _failed(conn: psycopg.Connection, stripe: Source) -> tuple[int, ...]:
    """The ages in seconds of events that Stripe could not deliver here.

    An event that arrived here in time is not counted, because its failed delivery was to another endpoint of the account.
    """
    now = int(time.time())
    try:
        page = stripe.page(
            "/v1/events",
            {"delivery_success": False, "created[gte]": now - FROM_SECONDS, "created[lt]": now - TO_SECONDS},
        )
    except MissingPermission:
        return ()
    arrived = inbox.arrivals(conn, [event["id"] for event in page.data])
    return tuple(
        now - event["created"]
        for event in page.data
        if event["id"] not in arrived or arrived[event["id"]] > event["created"] + LATE_SECONDS
    )


def _counts(conn: psycopg.Connection) -> dict[str, int]:
    """The counts of all processes since the database was created."""
    known = counters.read(conn)
    return {
        name: sum(value for key, value in known.items() if key.startswith(prefix)) for name, prefix in COUNTED.items()
    }


def _say(before: Sequence[Mapping[str, str]], now: Sequence[Mapping[str, str]]) -> None:
    had, has = ({(each["kind"], each["endpoint"]) for each in some} for some in (before, now))
    for each in now:
        if (each["kind"], each["endpoint"]) not in had:
            _log.error("endpoint.problem_began", **each)
    for kind, endpoint in sorted(had - has):
        _log.info("endpoint.problem_ended", kind=kind, endpoint=endpoint)


def _as_json(problem: Problem) -> dict[str, str]:
    return {
        "kind": problem.kind,
        "endpoint": problem.endpoint,
        "detail": problem.detail,
        "fix": problem.fix,
    }
