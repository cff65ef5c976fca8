"""Check the connections to Postgres: encryption, time-outs, and the number that all processes may open."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import psycopg
from psycopg import sql

from worker.config import address
from worker.config.settings import AppEnv, Pooler, Settings
from worker.jobs import lanes, status
from worker.postgres import server
from worker.postgres.pool import session_settings

# Connections for a migration and for operators' commands.
COMMANDS = 3
# A child process of a worker holds one connection, and briefly opens another to report.
WORKER_EACH = 2
# A child process of the background lane opens one more connection during a backfill.
BACKFILL_EACH = 1
# A web process has one pool for the webhook endpoint and operators, and one for access requests.
WEB_POOLS = 2
TIMEOUTS = ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout")

# The subject of a check, whether it is ok, and the detail.
Check = tuple[str, bool, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """The maximum number of connections that `web` and `worker` processes open with these settings."""

    settings: Settings
    webs: int
    workers: int

    @property
    def web(self) -> int:
        return self.webs * self.settings.web_concurrency * WEB_POOLS * self.settings.database_pool_size

    @property
    def worker(self) -> int:
        return self.workers * (self.children * WORKER_EACH + lanes.BACKGROUND_CHILDREN * BACKFILL_EACH)

    @property
    def children(self) -> int:
        """Child processes of one worker, in all its lanes."""
        return sum(lane.children for lane in lanes.lanes(self.settings))

    @property
    def total(self) -> int:
        return self.web + self.worker + COMMANDS

    @property
    def fix(self) -> str:
        """How to free the most connections: the setting to lower, or the processes to reduce."""
        if self.worker >= self.web:
            return "lower WORKER_CONCURRENCY, or start fewer workers"
        if self.settings.web_concurrency > 1:
            return "lower WEB_CONCURRENCY, or start fewer web processes"
        return "lower DATABASE_POOL_SIZE, or start fewer web processes"

    def __str__(self) -> str:
        return (
            f"at most {self.total}: {self.web} of web ({self.webs} x WEB_CONCURRENCY {self.settings.web_concurrency}"
            f" x {WEB_POOLS} x DATABASE_POOL_SIZE {self.settings.database_pool_size}), {self.worker} of worker"
            f" ({self.workers} x ({self.children} child processes x {WORKER_EACH} + {lanes.BACKGROUND_CHILDREN} of backfills)),"
            f" {COMMANDS} of commands"
        )


def findings(conn: psycopg.Connection, settings: Settings, *, webs: int | None, workers: int | None) -> Iterator[Check]:
    """Check an open connection, and the number of connections. If `workers` is None, live workers are counted."""
    yield "encryption", *_encryption(conn, settings)
    yield "time-outs", *_timeouts(conn, settings)
    if workers is None:
        live = sum(worker["lane"] == "events" for worker in status.workers(conn))
        workers = max(1, math.ceil(live / settings.worker_concurrency))
    yield (
        "connections",
        *_room(server.room(conn), Budget(settings=settings, webs=1 if webs is None else webs, workers=workers)),
    )


def _encryption(conn: psycopg.Connection, settings: Settings) -> tuple[bool, str]:
    mode = settings.database_sslmode or address.sslmode(settings.database_url)
    if conn.pgconn.ssl_in_use:
        if mode == "verify-full":
            return True, "encrypted, and the server's identity is verified (verify-full)"
        return True, f"encrypted, but {mode} does not verify the server's identity: use verify-full with sslrootcert"
    if address.is_local(settings.database_url):
        return True, "none, on this machine"
    allowed = settings.database_allow_plain or settings.app_env is not AppEnv.PRODUCTION
    return allowed, "none: passwords and data travel in plain text; set DATABASE_SSLMODE=verify-full"


def _timeouts(conn: psycopg.Connection, settings: Settings) -> tuple[bool, str]:
    """Check the time-outs. A pooler drops the time-outs we send, so the role itself must have them, with any value."""
    wanted, actual = session_settings(settings), server.session(conn, TIMEOUTS)
    if settings.database_pooler is Pooler.TRANSACTION:
        lacking = [name for name in TIMEOUTS if actual[name] == "0"]
        if lacking:
            role = sql.Identifier(conn.info.user).as_string()
            return False, (
                f"the role {role} has no {', '.join(lacking)}, and the pooler drops ours: run "
                + " ".join(f"alter role {role} set {name} = {wanted[name]};" for name in lacking)
            )
    elif any(actual[name] != wanted[name] for name in TIMEOUTS):
        return False, "they differ from the settings: behind a pooler, set DATABASE_POOLER=transaction"
    return True, ", ".join(f"{name} {int(actual[name]) / 1000:g} s" for name in TIMEOUTS)


def _room(room: server.Room, budget: Budget) -> tuple[bool, str]:
    if budget.settings.database_pooler is Pooler.TRANSACTION:
        return (
            True,
            f"{budget}; set the pooler's max_client_conn higher than that. The pooler's own pools may hold {room.free} "
            "connections to the server together",
        )
    has = (
        f"the server has room for {room.free} ({room.allowed} allowed, {room.reserved} reserved, "
        f"{room.others} used by others)"
    )
    if budget.total > room.free:
        return False, f"{budget}; {has}: {budget.fix}, or use a pooler (DATABASE_POOLER)"
    return True, f"{budget}; {has}"
