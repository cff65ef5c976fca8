"""Store changes of users in the transaction that makes them.

The changes get their ids when the transaction commits; see `schema.functions`.
"""

import json
from collections.abc import Mapping, Sequence

import psycopg

from worker.membership.rules.changes import Change
from worker.observe import trace

# The cursor from which the trigger for low balances reads its threshold.
SETTINGS = "changes"


def save(conn: psycopg.Connection, changes: Mapping[str, Sequence[Change]]) -> None:
    """Store the changes of each user, to be sent later. The rows of the users are locked, so their changes stay in
    order."""
    rows = [(user, change) for user in sorted(changes) for change in changes[user]]
    if not rows:
        return
    conn.execute(
        """
        insert into sync.change_drafts (user_id, type, before, after, reason, sources, traceparent)
        select user_id, type, before::jsonb, after::jsonb, reason, string_to_array(sources, ' '), %s
        from unnest(%b::text[], %b::text[], %b::text[], %b::text[], %b::text[], %b::text[])
            with ordinality as n (user_id, type, before, after, reason, sources, place)
        order by place
        """,
        (
            trace.traceparent(),
            [user for user, _ in rows],
            [change.type for _, change in rows],
            [json.dumps(change.before) for _, change in rows],
            [json.dumps(change.after) for _, change in rows],
            [change.reason for _, change in rows],
            [" ".join(change.sources) for _, change in rows],
        ),
    )


def keep_threshold(conn: psycopg.Connection, tokens_low: int | None) -> None:
    """Store the balance below which the database reports low tokens, or None for no reports. An equal value is not
    written."""
    conn.execute(
        """
        insert into sync.cursors as c (name, value) values (%s, jsonb_build_object('tokens_low', %s::bigint))
        on conflict (name) do update set value = excluded.value, updated_at = now() where c.value <> excluded.value
        """,
        (SETTINGS, tokens_low),
    )
