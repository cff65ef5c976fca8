"""The webhook secrets and their accounts, in `sync.webhook_secrets`: by fingerprint, never the secrets themselves.

A delivery does not name its platform account; only its signature tells. So each secret is proven once: an event that it
signed can be read with our key. Until then its events are held, unless it is the only secret.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import psycopg
from psycopg.rows import class_row

# The verdicts. A secret without one holds its events; an assumed one is checked again.
OURS, ASSUMED, FOREIGN = "ours", "assumed", "foreign"
HELD, OTHER_ACCOUNT = "held", "other_account"
# A secret that no `web` has used for this long has left the settings.
FORGOTTEN_SECONDS = 3600


@dataclass(frozen=True, slots=True)
class Secret:
    """A webhook secret by its fingerprint. `account` is the account to which the settings bind it, empty if none."""

    id: str
    account: str
    verdict: str | None
    reason: str | None


def keep(conn: psycopg.Connection, secrets: Mapping[str, str], *, first_verdict: str | None) -> dict[str, str | None]:
    """Store these secrets, fingerprint and account, as those of a running `web`; returns the verdict on each.

    `first_verdict` is for a secret that is new, or that is now bound to another account.
    """
    return dict(
        conn.execute(
            """
            insert into sync.webhook_secrets as s (id, account, verdict)
            select id, account, %(verdict)s from unnest(%(ids)b::text[], %(accounts)b::text[]) as w (id, account) order by id
            on conflict (id) do update
            set account = excluded.account, seen_at = now(),
                verdict = case when s.account = excluded.account then coalesce(s.verdict, excluded.verdict)
                    else excluded.verdict end
            returning id, verdict
            """,
            {"verdict": first_verdict, "ids": list(secrets), "accounts": list(secrets.values())},
        ).fetchall()
    )


def known(conn: psycopg.Connection) -> list[Secret]:
    """The secrets of all `web` processes that run, or ran within the last hour."""
    with conn.cursor(row_factory=class_row(Secret)) as cursor:
        return cursor.execute(
            """
            select id, account, verdict, reason from sync.webhook_secrets
            where seen_at > now() - make_interval(secs => %s) order by id
            """,
            (FORGOTTEN_SECONDS,),
        ).fetchall()


def judge(conn: psycopg.Connection, secret: str, verdict: str, reason: str) -> int:
    """Store the verdict, and carry it out on held events: they become due, or are done without being applied.

    Returns the number of events.
    """
    with conn.transaction():
        conn.execute(
            "update sync.webhook_secrets set verdict = %s, reason = %s, judged_at = now() where id = %s",
            (verdict, reason, secret),
        )
        if verdict == FOREIGN:
            # Events that were assumed to be ours, and are applied, stay as they are.
            return conn.execute(
                """
                update sync.events set status = 'done', outcome = %s, done_at = now(), last_error = %s
                where signed_by = %s and (status = 'pending' or status = 'parked' and outcome = %s)
                """,
                (OTHER_ACCOUNT, reason, secret, HELD),
            ).rowcount
        return conn.execute(
            """
            update sync.events set status = 'pending', outcome = null, next_attempt_at = now()
            where signed_by = %s and status = 'parked' and outcome = %s
            """,
            (secret, HELD),
        ).rowcount


def release(conn: psycopg.Connection) -> int:
    """Carry out verdicts on held events that a `web` stored before it knew the verdict. Returns how many became due."""
    conn.execute(
        """
        update sync.events as e set status = 'done', outcome = %s, done_at = now(), last_error = s.reason
        from sync.webhook_secrets as s
        where s.id = e.signed_by and s.verdict = %s and e.status = 'parked' and e.outcome = %s
        """,
        (OTHER_ACCOUNT, FOREIGN, HELD),
    )
    return conn.execute(
        """
        update sync.events as e set status = 'pending', outcome = null, next_attempt_at = now()
        from sync.webhook_secrets as s
        where s.id = e.signed_by and s.verdict in (%s, %s) and e.status = 'parked' and e.outcome = %s
        """,
        (OURS, ASSUMED, HELD),
    ).rowcount


def any_held(conn: psycopg.Connection) -> bool:
    """Whether events are held until their secret is judged."""
    return (
        conn.execute(
            "select from sync.events where status = 'parked' and outcome = %s and signed_by is not null limit 1",
            (HELD,),
        ).fetchone()
        is not None
    )


def newest(conn: psycopg.Connection, secret: str, *, limit: int) -> Sequence[tuple[str, str, float, float]]:
    """The newest events that this secret signed: id, account, and the seconds since creation and arrival."""
    return conn.execute(
        """
        select id, account, extract(epoch from now() - created)::float8, extract(epoch from now() - received_at)::float8
        from sync.events where signed_by = %s order by received_at desc limit %s
        """,
        (secret, limit),
    ).fetchall()
