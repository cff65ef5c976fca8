"""`stripe-sync doctor`: everything that the daemon needs, tried one by one, each fault with its mend."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

import psycopg
import redis

import migrations
from worker.adoption import store as adoption_store
from worker.backup import scheduled
from worker.cli import connections
from worker.cli.output import say, say_json
from worker.config.errors import SyncError
from worker.config.settings import Settings
from worker.jobs.wake import queue_client
from worker.mirror import refetch_queue
from worker.postgres import inventory, runs
from worker.postgres.pool import connect, hint
from worker.stripe_api.client import Stripe
from worker.writers import audit

__all__ = ["run"]

# What the daemon reads beside the lists that it mirrors.
_EVENTS = "/v1/events"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was tried."""

    what: str
    ok: bool
    said: str


def run(settings: Settings, *, as_json: bool, webs: int | None = None, workers: int | None = None) -> bool:
    """Say what works and what does not, for so many `web` and `worker`; returns whether everything does."""
    found = [*_database(settings, webs, workers), *_broker(settings), *_stripe(settings), *_settings(settings)]
    if as_json:
        say_json([{"what": one.what, "ok": one.ok, "said": one.said} for one in found])
    else:
        for one in found:
            say(f"{'ok  ' if one.ok else 'FAIL'}  {one.what:<22} {one.said}")
    return all(one.ok for one in found)


def _database(settings: Settings, webs: int | None, workers: int | None) -> Iterator[Finding]:
    try:
        with connect(settings, application="doctor") as conn:
            version = conn.info.parameter_status("server_version")
            at = inventory.revision(conn)
            yield Finding("database", ok=True, said=f"PostgreSQL {version}")
            if at != migrations.head():
                said = f"at revision {at or 'none'}, not {migrations.head()}: run `stripe-sync db migrate`"
                yield Finding("schema", ok=False, said=said)
                return
            yield Finding("schema", ok=True, said=f"at revision {at}")
            yield from _membership(conn, settings)
            for what, ok, said in connections.findings(conn, settings, webs=webs, workers=workers):
                yield Finding(what, ok=ok, said=said)
            yield from _refused(conn)
            yield from _backups(conn, settings)
    except psycopg.OperationalError as error:
        said = str(error).strip().splitlines()[0]
        yield Finding("database", ok=False, said=f"can't be used: see DATABASE_URL ({said}){hint(error)}")


def _membership(conn: psycopg.Connection, settings: Settings) -> Iterator[Finding]:
    """Where the users are: as the adoption left them, where there was one."""
    adopted = adoption_store.adopted(conn)
    if not settings.membership:
        yield Finding("membership", ok=True, said="off: the mirror is kept alone")
    elif adopted is not None and "users" in adopted["left_out"]:
        said = "this database was set up with MEMBERSHIP=off: run `stripe-sync db adopt --apply`"
        yield Finding("membership", ok=False, said=said)
    elif not adoption_store.resolves(conn):
        said = (
            "this connection does not see our names of the application's tables: a pooler between us drops its search_path "
            "(set it for our role: alter role ... set search_path = sync_names, public)"
        )
        yield Finding("membership", ok=False, said=said)


def _refused(conn: psycopg.Connection) -> Iterator[Finding]:
    for object_, error, number in refetch_queue.refused(conn):
        yield Finding(f"asking for {object_}", ok=False, said=f"{number} wait: {error}")


def _backups(conn: psycopg.Connection, settings: Settings) -> Iterator[Finding]:
    """What the clock should have made; whether that can be read again, `db backups --verify` says."""
    if settings.backup_schedule is None:
        return
    made, error = runs.latest(conn, scheduled.JOB)
    missed = scheduled.missed(conn, settings, datetime.now(UTC))
    said = f"the last was made at {made:%Y-%m-%d %H:%M} UTC" if made else "none was made yet"
    if missed is not None:
        said = f"that of {missed:%Y-%m-%d %H:%M} UTC is missing, and {said}"
        said += f": {error}" if error else ": does a worker run for the queue `backfill`, where BACKUP_DIR is?"
    yield Finding("backups", ok=missed is None, said=said)


def _broker(settings: Settings) -> Iterator[Finding]:
    try:
        client = queue_client(settings.redis_url)
        client.ping()
        policy = client.config_get("maxmemory-policy").get("maxmemory-policy")
    except (OSError, redis.RedisError) as error:
        yield Finding("broker", ok=False, said=f"can't be reached: see REDIS_URL ({type(error).__name__})")
        return
    evicts = policy not in (None, "noeviction")
    said = f"evicts ({policy}): set maxmemory-policy noeviction" if evicts else "answers, and evicts nothing"
    yield Finding("broker", ok=not evicts, said=said)


def _stripe(settings: Settings) -> Iterator[Finding]:
    if settings.stripe_secret_key is None:
        said = "STRIPE_SECRET_KEY is not set: deliveries alone are applied; what is uncertain can't be asked for"
        yield Finding("stripe", ok=False, said=said)
        return
    try:
        found = Stripe.from_settings(settings).check([_EVENTS, *(listing.path for listing in audit.LISTS)])
    except SyncError as error:
        yield Finding("stripe", ok=False, said=str(error))
        return
    mode = "live" if found.livemode else "test"
    yield Finding(
        "stripe", ok=True, said=f"the key works, in {mode} mode{f', account {found.account}' if found.account else ''}"
    )
    for lacking in found.lacks:
        yield Finding("permission", ok=False, said=str(lacking))


def _settings(settings: Settings) -> Iterator[Finding]:
    tried: list[tuple[str, Callable[[], bool], str]] = [
        ("STRIPE_WEBHOOK_SECRET", lambda: bool(settings.stripe_webhook_secret), "is not set: `web` needs it"),
        ("API_TOKEN", lambda: settings.api_token is not None, "is not set: /metrics and /v1 answer nobody"),
    ]
    for name, is_set, otherwise in tried:
        yield Finding(name, ok=is_set(), said="is set" if is_set() else otherwise)
