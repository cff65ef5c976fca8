"""The webhook secrets and their accounts, in `sync.webhook_secrets`. Secrets are stored only as fingerprints.

A delivery does not name its platform account: the only evidence is the secret that signed it. So each secret is proven
once: an event that was signed with the secret is read from Stripe with our key. Until then the secret's events are
held, unless it is the only secret.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import psycopg
from psycopg.rows import class_row

# The verdicts. The events of a secret without a verdict are held. An ASSUMED verdict is checked again later.
OURS, ASSUMED, FOREIGN = "ours", "assumed", "foreign"
HELD, OTHER_ACCOUNT = "held", "other_account"
# A secret that no `web` process has reported for this long is no longer in the settings.
FORGOTTEN_SECONDS = 3600


@dataclass(frozen=True, slots=True)
class Secret:
    """A webhook secret, by its fingerprint. `account` is the account that the settings bind it to, or empty."""

    id: str
    account: str
    verdict: str | None
    reason: str | None


def keep(conn: psycopg.Connection, secrets: Mapping[str, str], *, first_verdict: str | None) -> dict[str, str | None]:
    """Store the secrets of a running `web`, which map fingerprint to account. Returns the verdict on each.

    A secret that is new, or that is now bound to another account, gets `first_verdict`.
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
    """The secrets of all `web` processes that ran within the last hour."""
    with conn.cursor(row_factory=class_row(Secret)) as cursor:
        return cursor.execute(
            """
            select id, account, verdict, reason from sync.webhook_secrets
            where seen_at > now() - make_interval(secs => %s) order by id
            """,
            (FORGOTTEN_SECONDS,),
        ).fetchall()


def judge(conn: psycopg.Connection, secret: str, verdict: str, reason: str) -> int:
    """Store the verdict, and apply it to the secret's events. Returns how many events changed.

    If the verdict is OURS or ASSUMED, held events become due. If it is FOREIGN, unapplied events are marked done.
    """
    with conn.transaction():
        conn.execute(
            "update sync.webhook_secrets set verdict = %s, reason = %s, judged_at = now() where id = %s",
            (verdict, reason, secret),
        )
        if verdict == FOREIGN:
            # Events that were assumed to be ours and have been applied are not changed.
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
    """Apply verdicts to held events that a `web` process stored before it knew the verdict. Returns how many became due."""
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
    """Whether any events are held until their secret is judged."""
    return (
        conn.execute(
            "select from sync.events where status = 'parked' and outcome = %s and signed_by is not null limit 1",
            (HELD,),
        ).fetchone()
        is not None
    )


def newest(conn: psycopg.Connection, secret: str, *, limit: int) -> Sequence[tuple[str, str, float, float]]:
    """The newest events signed with this secret: id, account, and the seconds since creation and since arrival."""
    return conn.execute(
        """
        select id, account, extract(epoch from now() - created)::float8, extract(epoch from now() - received_at)::float8
        from sync.events where signed_by = %s order by received_at desc limit %s
        """,
        (secret, limit),
    ).fetchall()
