"""Store, seed and compact the history of subscriptions."""

import json
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import fields
from datetime import timedelta
from typing import Any

import psycopg

from schema.revenue import COMPUTE_MRR
from worker.mirror import subscription_facts
from worker.mirror.fold import Key, Observation, retrieved
from worker.mirror.subscription_facts import Fact, State, facts_of
from worker.postgres import cursors
from worker.stripe_api.json_paths import canonical

SEEDED, COMPACTED = "subscription_history_seeded", "subscription_history_compacted"
# Stripe delivers events for three days and lists them for thirty. After that, no fact can be added between two others.
COMPLETE = timedelta(days=40)
BATCH = 500

_STATE = tuple(field.name for field in fields(State))
_COLUMNS = ("account", "subscription", "at", "source", "before", "rank", "passed", *_STATE)
_TIMES = ("at", "created", "ended", "trial_end")
_KINDS = {
    "before": "boolean", "passed": "boolean", "paused": "boolean", "rank": "smallint", "at": "bigint", "created": "bigint",
    "ended": "bigint", "trial_end": "bigint", "months": "numeric",
}  # fmt: skip
_CASTS = {"products": "::text[]", "amounts": "::numeric[]", "discounts": "::jsonb"}


def _value(name: str) -> str:
    return f"to_timestamp(v.{name})" if name in _TIMES else f"v.{name}{_CASTS.get(name, '')}"


def _selected(name: str) -> str:
    return f"extract(epoch from h.{name})::bigint" if name in _TIMES else f"h.{name}"


_UNNESTED = f"""
    unnest({", ".join(f"%({name})s::{_KINDS.get(name, 'text')}[]" for name in _COLUMNS)})
        as v ({", ".join(_COLUMNS)})
"""
# The select sees the rows as they were before this statement: the other facts of the same seconds.
_SEEN = ", ".join(f"h.{name}" for name in _STATE if name not in ("customer", "created"))
_GIVEN = ", ".join(_value(name) for name in _STATE if name not in ("customer", "created"))
_ADD = f"""
    with added as (
        insert into mirror.subscription_history ({", ".join(_COLUMNS)})
        select {", ".join(map(_value, _COLUMNS))}
        from {_UNNESTED}
        on conflict do nothing
    )
    select {", ".join(map(_selected, _COLUMNS))}
    from mirror.subscription_history as h
    where (h.account, h.subscription, h.at) in (
        select v.account, v.subscription, to_timestamp(v.at)
        from unnest(%(account)s::text[], %(subscription)s::text[], %(at)s::bigint[]) as v (account, subscription, at)
    )
"""  # noqa: S608 - names of columns
# Subscriptions of our own account with a fact that differs from the fact before it. The MRR of others is unchanged.
_CHANGED = f"""
    select distinct v.subscription
    from {_UNNESTED}
    where v.account = '' and row({_GIVEN}) is distinct from (
        select row({_SEEN})
        from mirror.subscription_history as h
        where h.account = '' and h.subscription = v.subscription and h.at < to_timestamp(v.at) and not h.passed
        order by h.at desc, h.before
        limit 1
    )
"""  # noqa: S608
# Both statements request that movements be computed again, for the customers who had this MRR or now get it.
_FORGET_MRR = """
    with gone as (delete from mirror.subscription_mrr where subscription = any(%s) returning customer)
    insert into mirror.movements_due (customer) select distinct customer from gone
"""
_WRITE_MRR = f"""
    with made as ({COMPUTE_MRR} returning customer)
    insert into mirror.movements_due (customer) select distinct customer from made
"""  # noqa: S608 - a constant
_MARK = """
    update mirror.subscription_history as h
    set passed = v.passed
    from unnest(%s::text[], %s::text[], %s::bigint[], %s::text[], %s::boolean[])
        as v (account, subscription, at, source, passed)
    where h.account = v.account and h.subscription = v.subscription and h.at = to_timestamp(v.at)
        and h.source = v.source and not h.before
"""


def note(conn: psycopg.Connection, seen: Iterable[Observation], *, new: Collection[str] = ()) -> None:
    """Add the facts in observations of subscriptions, and recompute the MRR that they change.

    Runs in the caller's transaction, which has locked the rows of the subscriptions. `new` are subscriptions of our own
    account that this transaction has inserted, so they have no history.
    """
    facts: dict[Any, Fact] = {}
    terms: dict[str, set[str]] = {"discount": set(), "coupon": set()}
    for one in seen:
        facts |= {(*fact.second, fact.source, fact.before): fact for fact in facts_of(one)}
        if one.key.object in terms and not one.key.account:
            terms[one.key.object].add(one.key.id)
    subscriptions = _add(conn, list(facts.values()), new) if facts else set[str]()
    if terms["discount"] or terms["coupon"]:
        subscriptions |= _concerned(conn, terms["discount"], coupons=bool(terms["coupon"]))
    compute_mrr(conn, subscriptions)


def compute_mrr(conn: psycopg.Connection, subscriptions: Collection[str]) -> None:
    """Compute the MRR of these subscriptions of our own account from their history."""
    if subscriptions:
        ids = sorted(subscriptions)
        conn.execute(_FORGET_MRR, (ids,))
        conn.execute(_WRITE_MRR, (ids,))


def compute_inheriting(conn: psycopg.Connection, customers: Collection[str]) -> None:
    """Recompute the MRR of all subscriptions of these customers, for customers with a customer-level discount.

    Two transactions that did not see each other may have written the subscription and the discount. The caller
    recomputes the movements of the customers.
    """
    rows = conn.execute(
        """
        select distinct q.customer from mirror.objects as q
        where q.object = 'discount' and q.account = '' and q.customer = any(%s) and q.data->>'subscription' is null
        """,
        (list(customers),),
    ).fetchall()
    if not rows:
        return
    ids = _locked(
        conn,
        "select s.id from mirror.subscriptions as s where s.account = '' and s.customer = any(%s)",
        [customer for (customer,) in rows],
    )
    if ids:
        conn.execute("delete from mirror.subscription_mrr where subscription = any(%s)", (sorted(ids),))
        conn.execute(COMPUTE_MRR, (sorted(ids),))


def compute_waiting(conn: psycopg.Connection, *, limit: int = 200) -> int:
    """Recompute the MRR of subscriptions whose discount was missing when they were last computed, within the last hour.
    It may have been written since."""
    with conn.transaction():
        ids = _locked(
            conn,
            "select subscription from mirror.subscription_mrr where waits and computed_at > now() - interval '1 hour' limit %s",
            limit,
        )
        compute_mrr(conn, ids)
    return len(ids)


def _add(conn: psycopg.Connection, facts: Sequence[Fact], new: Collection[str]) -> set[str]:
    """Add the facts; returns the subscriptions of our own account whose MRR may have changed."""
    marked = subscription_facts.in_their_seconds(facts)
    changed = {fact.subscription for fact in marked if not fact.account and fact.subscription in new}
    if others := [fact for fact in marked if fact.subscription not in changed]:
        changed |= {id_ for (id_,) in conn.execute(_CHANGED, _parameters(others))}
    rows = conn.execute(_ADD, _parameters(marked)).fetchall()
    if rows:
        known = {(*fact.second, fact.source, fact.before): fact for fact in map(_fact, rows)}
        changed |= _mark(conn, marked, known)
    return changed


def _concerned(conn: psycopg.Connection, discounts: Collection[str], *, coupons: bool) -> set[str]:
    """Lock and return the subscriptions that have or inherit these discounts; with `coupons` also all subscriptions
    that wait for a discount."""
    return _locked(
        conn,
        """
        select h.subscription
        from unnest(%s::jsonb[]) as d (given)
        join mirror.subscription_history as h on h.discounts @> d.given and h.discounts is not null
        where h.account = ''
        union
        select s.id
        from mirror.objects as q
        join mirror.subscriptions as s on s.account = '' and s.customer = q.customer
        where q.object = 'discount' and q.account = '' and q.id = any(%s) and q.data->>'subscription' is null
        union
        select m.subscription from mirror.subscription_mrr as m where m.waits and %s
        """,
        [json.dumps([{"id": id_}]) for id_ in discounts],
        list(discounts),
        coupons,
    )


def _locked(conn: psycopg.Connection, query: str, *parameters: Any) -> set[str]:
    rows = conn.execute(
        f"select id from mirror.subscriptions where account = '' and id in ({query}) order by id for update",  # noqa: S608
        parameters,
    )
    return {id_ for (id_,) in rows}


def _mark(conn: psycopg.Connection, added: Sequence[Fact], known: dict[Any, Fact]) -> set[str]:
    """Determine the last state again for seconds that already had facts.

    Returns the subscriptions of our own account with such seconds.
    """
    stored = {(*fact.second, fact.source, fact.before): fact for fact in added} | known
    seconds = {fact.second for fact in known.values()}
    again = subscription_facts.in_their_seconds(fact for fact in stored.values() if fact.second in seconds)
    changed = [
        fact
        for fact in again
        if not fact.before and stored[(*fact.second, fact.source, fact.before)].passed != fact.passed
    ]
    if changed:
        columns = zip(*((*fact.second, fact.source, fact.passed) for fact in changed), strict=True)
        conn.execute(_MARK, [list(column) for column in columns])
    return {fact.subscription for fact in again if not fact.account}


def seed(conn: psycopg.Connection, *, should_continue: Callable[[], bool]) -> int:
    """Add a first fact for each mirrored subscription without a history, once; returns how many were added."""
    place, number = cursors.read(conn, SEEDED) or {"account": "", "id": "", "done": False}, 0
    while not place["done"] and should_continue():
        with conn.transaction():
            rows = conn.execute(
                """
                select s.account, s.id, s.data, s.deleted, extract(epoch from s.observed_at)::bigint, s.shape,
                    exists (
                        select from mirror.subscription_history as h where h.account = s.account and h.subscription = s.id
                    )
                from mirror.subscriptions as s
                where (s.id, s.account) > (%s, %s)
                order by s.id, s.account
                limit %s
                for update
                """,
                (place["id"], place["account"], BATCH),
            ).fetchall()
            fresh = [
                retrieved(
                    Key("subscriptions", subscription_facts.SUBSCRIPTION, id_, account),
                    None if deleted else data,
                    read_at=read_at,
                    shape=shape,
                )
                for account, id_, data, deleted, read_at, shape, has in rows
                if not has
            ]
            note(conn, fresh)
            number += len(fresh)
            last = rows[-1] if rows else (place["account"], place["id"])
            place = {"account": last[0], "id": last[1], "done": len(rows) < BATCH}
            cursors.save(conn, SEEDED, place)
    return number


def compact(conn: psycopg.Connection, *, should_continue: Callable[[], bool]) -> int:
    """Remove old facts that repeat the state before them or are marked as passed; returns how many.

    It reads the subscriptions in the order of their ids, and begins again at the end. One call makes at most one round.
    """
    place, removed = cursors.read(conn, COMPACTED) or ["", ""], 0
    while should_continue():
        rows = conn.execute(
            """
            select distinct account, subscription
            from mirror.subscription_history
            where (account, subscription) > (%s, %s)
            order by account, subscription
            limit %s
            """,
            (*place, BATCH),
        ).fetchall()
        if rows:
            removed += conn.execute(_COMPACT, (*place, *rows[-1], COMPLETE)).rowcount
        place = list(rows[-1]) if len(rows) == BATCH else ["", ""]
        cursors.save(conn, COMPACTED, place)
        if len(rows) < BATCH:
            break
    return removed


_COMPACT = f"""
    with facts as (
        select h.ctid, h.at, h.passed, h.before, row_number() over w as number,
            row({", ".join(f"h.{name}" for name in _STATE)}) is not distinct from
                row({", ".join(f"lag(h.{name}) over w" for name in _STATE)}) as is_same
        from mirror.subscription_history as h
        where (h.account, h.subscription) > (%s, %s) and (h.account, h.subscription) <= (%s, %s)
        window w as (partition by h.account, h.subscription, h.passed order by h.at, h.before desc, h.source)
    )
    delete from mirror.subscription_history as h
    using facts as f
    where h.ctid = f.ctid and f.at < now() - %s
        and (f.passed or f.number > 1 and (f.is_same or f.before))
"""  # noqa: S608 - names of columns


def _parameters(facts: Sequence[Fact]) -> dict[str, list[Any]]:
    columns: dict[str, list[Any]] = {name: [] for name in _COLUMNS}
    for fact in facts:
        for name in _COLUMNS:
            columns[name].append(_sent(name, getattr(fact.state if name in _STATE else fact, name)))
    return columns


def _sent(name: str, value: Any) -> Any:
    """The value as it is sent. Arrays are sent as text, because an array of arrays can't be unnested row by row."""
    if name == "products":
        return "{" + ",".join('"' + each.replace("\\", "\\\\").replace('"', '\\"') + '"' for each in value) + "}"
    if name == "amounts":
        return "{" + ",".join("NULL" if each is None else format(each, "f") for each in value) + "}"
    return value


def _fact(row: Sequence[Any]) -> Fact:
    values = dict(zip(_COLUMNS, row, strict=True))
    state = State(**{name: _received(name, values.pop(name)) for name in _STATE})
    return Fact(**values, state=state)


def _received(name: str, value: Any) -> Any:
    if name == "discounts":
        return None if value is None else canonical(value)
    return tuple(value) if name in ("products", "amounts") else value
