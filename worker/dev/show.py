"""The output of `dev` once everything runs: the result of a demo sign-up, the addresses, and example commands."""

import contextlib
import hashlib
import hmac
import json
import os
import sys
import time
import urllib.error
import urllib.request
from typing import Any

import psycopg
from psycopg.rows import dict_row

USER, EMAIL, NAME = "demo", "demo@example.com", "Demo User"
READY_SECONDS, STORY_SECONDS = 60, 30

_ROW = "select id, role::text, membership_status::text, stripe_product_id, tokens, tokens_expires_at from users where id = %s"


def main() -> None:
    env = os.environ
    address, sandbox = f"http://127.0.0.1:{env['PORT']}", env.get("STRIPE_SYNC_SANDBOX")
    # The console opens on the user whose sign-up is shown here.
    first_page = f"/console/users/{USER}"
    _wait_for(f"{address}/readyz")
    if sandbox is not None:
        _wait_for(f"{sandbox}/_sandbox")
        _play_once(sandbox, env["DATABASE_URL"])
    elif not env.get("STRIPE_SECRET_KEY"):
        _deliver_once(f"{address}/webhooks/stripe", env["STRIPE_WEBHOOK_SECRET"].split(",")[0], env["DATABASE_URL"])
    else:
        first_page = "/console"
    _say(
        "",
        "Everything is running. Ctrl-C stops it.",
        f"  console        {address}/console/sign-in?link={_sign_in_link()}&next={first_page}",
        f"  webhooks       POST {address}/webhooks/stripe",
        f"  health         {address}/healthz   {address}/readyz",
        f"  status         curl -H 'Authorization: Bearer {env['API_TOKEN']}' {address}/v1/status",
        f"  DATABASE_URL   {env['DATABASE_URL']}",
        f"  REDIS_URL      {env['REDIS_URL']}",
        f"  webhook secret {env.get('STRIPE_WEBHOOK_SECRET', '')}",
    )
    if sandbox is not None:
        _say(
            f"  Stripe         {sandbox} (a sandbox with state; GET {sandbox}/_sandbox lists its stories)",
            "",
            "Next:",
            f'  curl -X POST {sandbox}/_sandbox/stories/renewal -d \'{{"user_id": "{USER}"}}\'',
            f'  curl -X POST {sandbox}/_sandbox/stories/cancel -d \'{{"user_id": "{USER}"}}\'',
            f"  psql '{env['DATABASE_URL']}' -c 'select id, role, membership_status, tokens from users'",  # noqa: S608 - shown, not run
            f"  curl -H 'Authorization: Bearer {env['API_TOKEN']}' {address}/v1/users/{USER}/access",
            f"  DATABASE_URL='{env['DATABASE_URL']}' REDIS_URL='{env['REDIS_URL']}' APP_ENV=development ./run cli why {USER}",
            "With your own Stripe account, in test mode:",
            f"  stripe listen --forward-to 127.0.0.1:{env['PORT']}/webhooks/stripe    # prints a secret, whsec_...",
            "  STRIPE_SECRET_KEY=sk_test_... STRIPE_WEBHOOK_SECRET=whsec_... ./run dev",
        )
    else:
        _say("", f"Let Stripe deliver here: stripe listen --forward-to 127.0.0.1:{env['PORT']}/webhooks/stripe")


def _sign_in_link() -> str:
    """The token of a link that signs the developer's browser in."""
    from worker.config import settings
    from worker.web.console.session import Sessions

    return Sessions(settings.load()).link()


def _play_once(sandbox: str, database_url: str) -> None:
    """Play one sign-up for the demo user, unless an earlier start has played it."""
    with psycopg.connect(database_url, autocommit=True, row_factory=dict_row) as conn:
        fresh = conn.execute(
            """
            insert into users (id, email, name, email_verified) values (%s, %s, %s, now())
            on conflict do nothing
            returning id
            """,
            (USER, EMAIL, NAME),
        ).fetchone()
        if fresh is None:
            _say("", "The demo user, from an earlier start:", _row(conn))
            return
        before = _row(conn)
        story = _post(f"{sandbox}/_sandbox/stories/sign_up", {"user_id": USER, "email": EMAIL, "name": NAME})
        wanted = {event["id"] for event in story["events"]}
        deadline = time.monotonic() + STORY_SECONDS
        while time.monotonic() < deadline:
            done = conn.execute(
                "select id, type, outcome from sync.events where id = any(%s) and status = 'done' order by created, id",
                (list(wanted),),
            ).fetchall()
            if len(done) == len(wanted):
                break
            time.sleep(0.05)
        emitted = [event["id"] for event in story["events"]]
        done.sort(key=lambda event: emitted.index(event["id"]))
        _say(
            "",
            f"A sign-up was played in the sandbox. {len(done)} of its {len(wanted)} events arrived and were applied:",
        )
        _say(*(f"  {event['type']:<36} {event['id']}  {event['outcome']}" for event in done))
        _say("The user before:", before, "The user now:", _row(conn))


def _deliver_once(url: str, secret: str, database_url: str) -> None:
    """Deliver one event, signed as Stripe signs events, and print the resulting row."""
    with psycopg.connect(database_url, autocommit=True, row_factory=dict_row) as conn:
        conn.execute(
            "insert into users (id, email, name) values (%s, %s, %s) on conflict do nothing", (USER, EMAIL, NAME)
        )
        now = int(time.time())
        customer = {
            "id": "cus_demo",
            "object": "customer",
            "created": now,
            "livemode": False,
            "email": EMAIL,
            "name": NAME,
        }
        event = {"id": "evt_demo", "object": "event", "type": "customer.created", "created": now, "livemode": False}
        body = json.dumps(event | {"data": {"object": customer | {"metadata": {"user_id": USER}}}}).encode()
        digest = hmac.new(secret.encode(), f"{now}.".encode() + body, hashlib.sha256).hexdigest()
        headers = {"content-type": "application/json", "stripe-signature": f"t={now},v1={digest}"}
        urllib.request.urlopen(urllib.request.Request(url, body, headers), timeout=30).close()  # noqa: S310 - loopback
        deadline, row = time.monotonic() + STORY_SECONDS, None
        while row is None and time.monotonic() < deadline:
            row = conn.execute(
                """
                select c.id, c.name, c.email, l.user_id
                from stripe.customers as c join sync.customer_links as l on l.stripe_customer_id = c.id
                """
            ).fetchone()
            time.sleep(0.05)
        _say(
            "",
            "A customer.created event was delivered. The row in stripe.customers, and the user that it is linked to:",
        )
        _say("  " + "  ".join(f"{name}={value}" for name, value in (row or {}).items()))


def _row(conn: psycopg.Connection[dict[str, Any]]) -> str:
    row = conn.execute(_ROW, (USER,)).fetchone() or {}
    return "  " + "  ".join(f"{name}={value}" for name, value in row.items())


def _wait_for(url: str) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(url, timeout=2):  # noqa: S310 - loopback
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.05)
    _say(f"{url} is not ready after {READY_SECONDS} s; the lines above say why.")
    sys.exit(1)


def _post(url: str, body: dict[str, str]) -> Any:
    request = urllib.request.Request(url, json.dumps(body).encode(), {"content-type": "application/json"})  # noqa: S310
    with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310 - loopback
        return json.load(answer)


def _say(*lines: str) -> None:
    sys.stdout.write("\n".join(lines) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        main()
