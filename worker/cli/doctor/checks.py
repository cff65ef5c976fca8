"""The checks of `stripe-sync doctor`: one for each thing the daemon depends on. Each problem comes with its fix."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta

import psycopg
import redis

import migrations
from worker.adoption import store as adoption_store
from worker.backup import scheduled
from worker.cli.doctor import connections
from worker.cli.output import say, say_json
from worker.config.errors import SyncError
from worker.config.settings import ProductChanges, Settings
from worker.inbox.endpoint import sentinel
from worker.jobs.wake import queue_client
from worker.membership.delivery import address
from worker.membership.delivery import store as changes
from worker.membership.rules import wording
from worker.membership.store import catalogue, held_rows, load_facts, product_changes
from worker.mirror import accounts, refetch_queue
from worker.mirror.registry import TYPES
from worker.observe import log
from worker.postgres import runs, schema_state
from worker.postgres.pool import connect, hint
from worker.postgres.schema_state import SchemaState
from worker.stripe_api.client import Stripe, fingerprint
from worker.stripe_api.lists import LISTS

# The daemon reads this list in addition to the mirrored ones.
_EVENTS = "/v1/events"
# If the oldest change waits longer than this, the receiver is not keeping up.
LATE_CHANGE_SECONDS = 600
# Each account should be read again within this time.
LATE_ACCOUNT = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check. `detail` describes the state, and the fix if the check fails."""

    what: str
    ok: bool
    detail: str


def run(settings: Settings, *, as_json: bool, webs: int | None = None, workers: int | None = None) -> bool:
    """Print every check, for this many `web` and `worker` processes. Returns whether all are ok."""
    log.configure(settings.model_copy(update={"log_level": "error"}))
    findings = [*_database(settings, webs, workers), *_broker(settings), *_stripe(settings), *_settings(settings)]
    if as_json:
        say_json([asdict(finding) for finding in findings])
    else:
        for finding in findings:
            say(f"{'ok  ' if finding.ok else 'FAIL'}  {finding.what:<22} {finding.detail}")
    return all(finding.ok for finding in findings)


def _database(settings: Settings, webs: int | None, workers: int | None) -> Iterator[Finding]:
    try:
        with connect(settings, application="doctor") as conn:
            version = conn.info.parameter_status("server_version")
            yield Finding("database", ok=True, detail=f"PostgreSQL {version}")
            state, advice = schema_state.look(conn)
            if state is not SchemaState.CURRENT:
                yield Finding("schema", ok=False, detail=advice)
                return
            yield Finding("schema", ok=True, detail=f"at revision {migrations.head()}")
            yield from _membership(conn, settings)
            for what, ok, detail in connections.findings(conn, settings, webs=webs, workers=workers):
                yield Finding(what, ok=ok, detail=detail)
            yield from _refused_reads(conn)
            yield from _changes(conn, settings)
            yield from _accounts(conn, settings)
            yield from _backups(conn, settings)
    except psycopg.OperationalError as error:
        reason = str(error).strip().splitlines()[0]
        yield Finding("database", ok=False, detail=f"can't be used: see DATABASE_URL ({reason}){hint(error)}")


def _membership(conn: psycopg.Connection, settings: Settings) -> Iterator[Finding]:
    """Check that this connection sees the users' tables under our names, and that products and users have no problems."""
    adopted = adoption_store.adopted(conn)
    if not settings.membership:
        yield Finding("membership", ok=True, detail="off: only the mirror is kept")
    elif adopted is not None and "users" in adopted.names.left_out:
        yield Finding(
            "membership",
            ok=False,
            detail="this database was set up with MEMBERSHIP=off: run `stripe-sync db adopt --apply`",
        )
    elif not adoption_store.resolves(conn):
        yield Finding(
            "membership",
            ok=False,
            detail="this connection does not see the application's tables under our names, because a pooler drops the "
            "search_path: run `alter role ... set search_path = sync_names, public` for the role of DATABASE_URL",
        )
    else:
        for product in catalogue.unclear_products(conn):
            yield Finding(f"product {product.id}", ok=False, detail=wording.unreadable(product))
        if settings.product_changes is ProductChanges.PLAN and (changed := product_changes.waiting(conn)):
            detail = f"{len(changed)} give something different now ({changed[0]['product_id']} ...): see `stripe-sync "
            detail += "membership plan`, then run `stripe-sync membership apply`, or set PRODUCT_CHANGES=apply"
            yield Finding("changed products", ok=False, detail=detail)
        if (tokens := load_facts.capped(conn)) is not None:
            most, users = tokens
            yield Finding(
                "users.tokens",
                ok=not users,
                detail=f"the application's column holds at most {most:,}, and {users:,} users reached it: larger balances are "
                "cut off. The ledger has the full balance. Change the column to bigint to store all of it",
            )
        for row in held_rows.reasons(conn):
            yield Finding(
                f"rows of {row['relation']}",
                ok=False,
                detail=f"{row['rows']} are held back (for instance {row['example']}): {row['reason']}. They are written when "
                "the table accepts them; `stripe-sync db adopt --apply --relax` drops NOT NULL",
            )


def _accounts(conn: psycopg.Connection, settings: Settings) -> Iterator[Finding]:
    """Check that connected accounts are read in time, and without errors."""
    known = accounts.summary(conn)
    if not settings.connect:
        if known["connected"]:
            yield Finding("connected accounts", ok=True, detail="CONNECT=off: they are mirrored from deliveries only")
        return
    if settings.stripe_secret_key is None:
        yield Finding("connected accounts", ok=False, detail="CONNECT=on reads them, so STRIPE_SECRET_KEY must be set")
        return
    detail = f"{known['connected']} connected, {known['deauthorized']} deauthorized"
    since = known["waiting_since"]
    late = since is not None and datetime.fromisoformat(since) < datetime.now(UTC) - LATE_ACCOUNT
    if late:
        detail += f". One has been waiting for its turn since {since}: does a worker serve the queue `backfill`? "
        detail += "With thousands of accounts, set CATCH_UP_INTERVAL longer"
    yield Finding("connected accounts", ok=not late, detail=detail)
    for row in accounts.rows(conn):
        if row["status"] == "connected" and row["error"]:
            yield Finding(f"account {row['id']}", ok=False, detail=f"the last read failed: {row['error']}")


def _refused_reads(conn: psycopg.Connection) -> Iterator[Finding]:
    for object_, error, number in refetch_queue.refused(conn):
        yield Finding(f"reading {object_}", ok=False, detail=f"{number} wait to be read: {error}")


def _changes(conn: psycopg.Connection, settings: Settings) -> Iterator[Finding]:
    """Check that CHANGES_URL may be called, and that it acknowledges changes in time."""
    if settings.changes_url is None:
        return
    try:
        target = address.resolve(settings.changes_url, allow_private=settings.changes_allow_private)
        yield Finding("changes", ok=True, detail=f"are sent to {target.host} ({target.address})")
    except address.AddressRefused as error:
        yield Finding("changes", ok=False, detail=str(error))
    backlog = changes.backlog(conn)
    if (number := backlog["changes_parked"]) > 0:
        detail = f"{number} were not acknowledged in two days: fix the receiver, then run `stripe-sync changes resend --parked`"
        yield Finding("parked changes", ok=False, detail=detail)
    if (age := backlog["oldest_pending_change_seconds"]) > LATE_CHANGE_SECONDS:
        detail = f"the oldest has waited for {age:.0f} s: does the receiver answer, and is a worker running?"
        yield Finding("pending changes", ok=False, detail=detail)


def _backups(conn: psycopg.Connection, settings: Settings) -> Iterator[Finding]:
    """Check that the last scheduled backup was made. (`db backups --verify` checks that backups can be read.)"""
    if settings.backup_schedule is None:
        return
    last, error = runs.latest(conn, scheduled.JOB)
    detail = f"the last one was made at {last:%Y-%m-%d %H:%M} UTC" if last else "none has been made yet"
    missed = scheduled.missed(conn, settings, datetime.now(UTC))
    if missed is not None:
        reason = error or "is a worker for the queue `backfill` running on the machine with BACKUP_DIR?"
        detail = f"the backup of {missed:%Y-%m-%d %H:%M} UTC is missing, and {detail}: {reason}"
    yield Finding("backups", ok=missed is None, detail=detail)


def _broker(settings: Settings) -> Iterator[Finding]:
    try:
        client = queue_client(settings.redis_url)
        client.ping()
        policy = client.config_get("maxmemory-policy").get("maxmemory-policy")
    except (OSError, redis.RedisError) as error:
        yield Finding("broker", ok=False, detail=f"can't be reached: see REDIS_URL ({type(error).__name__})")
        return
    if policy in (None, "noeviction"):
        yield Finding("broker", ok=True, detail="answers, and evicts no keys")
    else:
        yield Finding("broker", ok=False, detail=f"evicts keys ({policy}): set maxmemory-policy noeviction")


def _stripe(settings: Settings) -> Iterator[Finding]:
    if settings.stripe_secret_key is None:
        yield Finding(
            "stripe",
            ok=False,
            detail="STRIPE_SECRET_KEY is not set: only deliveries are applied, and uncertain objects are never re-read",
        )
        return
    try:
        client = Stripe.from_settings(settings)
        needed = [row.path for row in LISTS.values() if row.object in TYPES and row.parent is None]
        key = client.check([_EVENTS, *needed])
        further = [row for row in LISTS.values() if row.object not in TYPES and row.parent is None]
        refused = client.refused((row.path, row.params) for row in further)
    except SyncError as error:
        yield Finding("stripe", ok=False, detail=str(error))
        return
    account = f", account {key.account}" if key.account else ""
    yield Finding("stripe", ok=True, detail=f"the key works, in {'live' if key.livemode else 'test'} mode{account}")
    for lacking in key.lacks:
        yield Finding("permission", ok=False, detail=str(lacking))
    if unread := [row.name for row in further if row.path in refused]:
        detail = f"{len(unread)} of {len(further)} can't be read with this key, and are left out: {', '.join(unread)}"
        yield Finding("further lists", ok=True, detail=detail)
    yield from _endpoint(settings)


def _endpoint(settings: Settings) -> Iterator[Finding]:
    """Report problems of our webhook endpoint at Stripe. Another check reports an unusable database."""
    try:
        with connect(settings, application="doctor") as conn:
            if schema_state.look(conn)[0] is not SchemaState.CURRENT:
                return
            problems = sentinel.look(conn, Stripe.from_settings(settings), settings)
    except psycopg.OperationalError:
        return
    except SyncError as error:
        yield Finding("endpoint", ok=False, detail=str(error))
        return
    for problem in problems:
        detail = f"{problem.endpoint} {problem.detail}: {problem.fix}".strip()
        # A missing endpoint is not a failure: catch-up finds the events, and developers forward deliveries with Stripe's CLI.
        yield Finding(f"endpoint {problem.kind}", ok=problem.kind == "missing", detail=detail)


def _settings(settings: Settings) -> Iterator[Finding]:
    for number, (secret, account) in enumerate(settings.webhook_secrets.items(), 1):
        bound = f", bound to {account}" if account else ""
        yield Finding(f"webhook secret {number}", ok=True, detail=f"has the fingerprint {fingerprint(secret)}{bound}")
    for name, is_set, otherwise in (
        ("STRIPE_WEBHOOK_SECRET", bool(settings.stripe_webhook_secret), "is not set: `web` needs it"),
        ("API_TOKEN", settings.api_token is not None, "is not set: /metrics and /v1 refuse every request"),
    ):
        yield Finding(name, ok=is_set, detail="is set" if is_set else otherwise)
