"""What `doctor` says of the way to Postgres: encryption, time-outs, and how many connections all processes may open."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import psycopg
from psycopg import sql

from worker.config import address
from worker.config.settings import AppEnv, Pooler, Settings
from worker.jobs import status
from worker.postgres import server
from worker.postgres.pool import session_settings

__all__ = ["Budget", "findings"]

# What a release and an operator's command hold while they run.
COMMANDS = 3
# A web process keeps one pool's worth for the door and operators, and one for users on access.
WEB_POOLS = 2
TIMEOUTS = ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout")

# What was looked at, whether it is well, and what is said of it.
Said = tuple[str, bool, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """How many connections so many `web` and `worker` of these settings open at most."""

    settings: Settings
    webs: int
    workers: int

    @property
    def web(self) -> int:
        return self.webs * self.settings.web_concurrency * WEB_POOLS * self.settings.database_pool_size

    @property
    def worker(self) -> int:
        return self.workers * self.settings.worker_concurrency

    @property
    def total(self) -> int:
        return self.web + self.worker + COMMANDS

    @property
    def mend(self) -> str:
        """The setting whose lowering frees most."""
        if self.worker >= self.web:
            return "lower WORKER_CONCURRENCY, or start fewer workers"
        if self.settings.web_concurrency > 1:
            return "lower WEB_CONCURRENCY, or start fewer web processes"
        return "lower DATABASE_POOL_SIZE, or start fewer web processes"

    def __str__(self) -> str:
        return (
            f"at most {self.total}: {self.web} of web ({self.webs} x WEB_CONCURRENCY {self.settings.web_concurrency}"
            f" x {WEB_POOLS} x DATABASE_POOL_SIZE {self.settings.database_pool_size}), {self.worker} of worker"
            f" ({self.workers} x WORKER_CONCURRENCY {self.settings.worker_concurrency}), {COMMANDS} of commands"
        )


def findings(conn: psycopg.Connection, settings: Settings, *, webs: int | None, workers: int | None) -> Iterator[Said]:
    """What is said of an open connection. Where no number of workers is given, those that are alive count."""
    yield "encryption", *_encryption(conn, settings)
    yield "time-outs", *_timeouts(conn, settings)
    if workers is None:
        workers = max(1, math.ceil(status.alive(conn) / settings.worker_concurrency))
    yield (
        "connections",
        *_room(server.room(conn), Budget(settings=settings, webs=1 if webs is None else webs, workers=workers)),
    )


def _encryption(conn: psycopg.Connection, settings: Settings) -> tuple[bool, str]:
    mode = settings.database_sslmode or address.sslmode(settings.database_url)
    if conn.pgconn.ssl_in_use:
        if mode == "verify-full":
            return True, "encrypted, and the server is who it says (verify-full)"
        return True, f"encrypted, but {mode} takes anybody for the server: verify-full, with sslrootcert, does not"
    if address.is_local(settings.database_url):
        return True, "none, on this machine"
    allowed = settings.database_allow_plain or settings.app_env is not AppEnv.PRODUCTION
    return allowed, "none: passwords and data travel in plain text; DATABASE_SSLMODE=verify-full mends it"


def _timeouts(conn: psycopg.Connection, settings: Settings) -> tuple[bool, str]:
    """The role's own settings where a pooler lets ours not through: any that is not endless will do."""
    wanted, found = session_settings(settings), server.session(conn, TIMEOUTS)
    if settings.database_pooler is Pooler.TRANSACTION:
        lacking = [name for name in TIMEOUTS if found[name] == "0"]
        if lacking:
            role = sql.Identifier(conn.info.user).as_string()
            return False, (
                f"{', '.join(lacking)} of the role {role}: none, and a pooler lets ours not through: run "
                + " ".join(f"alter role {role} set {name} = {wanted[name]};" for name in lacking)
            )
    elif any(found[name] != wanted[name] for name in TIMEOUTS):
        return False, "not those of the settings: if a pooler stands there, set DATABASE_POOLER=transaction"
    return True, ", ".join(f"{name} {int(found[name]) / 1000:g} s" for name in TIMEOUTS)


def _room(room: server.Room, budget: Budget) -> tuple[bool, str]:
    if budget.settings.database_pooler is Pooler.TRANSACTION:
        return (
            True,
            f"{budget}; the pooler's max_client_conn is to be more, its pools share {room.free} of the server's",
        )
    has = (
        f"the server has room for {room.free} ({room.allowed} allowed, {room.reserved} reserved, {room.others} others')"
    )
    if budget.total > room.free:
        return False, f"{budget}; {has}: {budget.mend}, or put a pooler between (DATABASE_POOLER)"
    return True, f"{budget}; {has}"
