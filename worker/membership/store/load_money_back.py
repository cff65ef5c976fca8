"""Load the returned money of each bill, as refunds, disputes, credit notes and charges report it, each counted once.

Only settled rows count, because tokens are taken back only if the return of the money is certain. An invoice whose
lines are still being read waits, because its grants are not all known.
"""

from collections import defaultdict
from decimal import Decimal
from typing import Any

import psycopg
from psycopg.rows import dict_row

from worker.membership.rules.facts import Bill, MoneyBack, Restored

Connection = psycopg.Connection
_MOST = 2**63 - 1


def bills(conn: Connection, ids: list[str]) -> dict[str, Bill]:
    """The bills whose money was returned, wholly or in part, according to the mirror or the ledger.

    A refund of a payment for several invoices counts only for the first of them.
    """
    if not ids:
        return {}
    with conn.cursor(row_factory=dict_row) as cursor:
        rows = cursor.execute(_SOURCES, {"bills": ids}).fetchall()
    objects: dict[str, list[dict[str, Any]]] = defaultdict(list)
    counted: set[str] = set()
    for row in rows:
        if row["source_key"] is None or row["source_key"] not in counted:
            counted.add(row["source_key"])
            objects[row["bill"]].append(row)
    return {
        id_: Bill(
            id=id_,
            total=sources[0]["total"],
            returned=_money(sum(source["amount"] for source in sources)),
            accounted=_money(sources[0]["accounted"]),
            sources=tuple(
                MoneyBack(
                    source_key=source["source_key"],
                    kind=source["kind"],
                    amount=_money(source["amount"]),
                    at=source["at"],
                )
                for source in sources
                if source["source_key"] is not None and not source["is_known"]
            ),
        )
        for id_, sources in objects.items()
    }


def restored(conn: Connection, users: list[str]) -> dict[str, list[Restored]]:
    """For each user, the ledger rows that took tokens back for money that was not returned in the end. Rows that were
    already restored are left out."""
    rows: dict[str, list[Restored]] = defaultdict(list)
    if users:
        with conn.cursor(row_factory=dict_row) as cursor:
            for row in cursor.execute(_RESTORED, (users,)):
                rows[row.pop("user_id")].append(Restored(**row))
    return rows


def _money(amount: Decimal | int) -> int:
    """A sum in minor units, capped at the largest amount that a column of the mirror or the ledger holds."""
    return int(max(-_MOST, min(_MOST, amount)))


# The payments of a bill are the payments that name it, or (in old API versions) the payment that the invoice names. The
# refunded amount of a charge may be larger than the sum of its mirrored refunds, even with failed refunds included.
# Then the difference is a source of its own.
_SOURCES = """
    with bills as (
        select b.id as bill, coalesce(i.total, i.amount_paid) as total, i.payment_intent,
            case jsonb_typeof(i.data->'charge') when 'string' then i.data->>'charge' end as charge
        from unnest(%(bills)s::text[]) as b (id)
        join mirror.invoices as i on i.id = b.id and length(i.account) = 0
            and not (i.unsettled and coalesce(i.data->'lines'->'has_more' = 'true', false))
        union all
        select b.id, s.amount_total, s.payment_intent, null
        from unnest(%(bills)s::text[]) as b (id)
        join mirror.checkout_sessions as s on s.id = b.id and length(s.account) = 0
    ),
    payments as (
        select b.bill, p.payment_payment_intent as intent, p.payment_charge as charge
        from bills as b
        join mirror.invoice_payments as p on p.invoice = b.bill and length(p.account) = 0 and not p.deleted
        union
        select bill, payment_intent, null from bills where payment_intent is not null
        union
        select bill, null, charge from bills where payment_intent is null and charge is not null
    ),
    refunds as (
        select distinct p.bill, r.id, r.amount, r.status, r.unsettled, r.created,
            coalesce(r.charge, c.id) as charge
        from payments as p
        join mirror.refunds as r on r.payment_intent = p.intent or r.charge = p.charge
        left join mirror.charges as c on c.payment_intent = r.payment_intent and r.charge is null and length(c.account) = 0
        where length(r.account) = 0 and not r.deleted and r.amount is not null
    ),
    sources as (
        select 'refund:' || id as source_key, 'refund' as kind, bill, amount, created as at
        from refunds
        where not unsettled and status in ('succeeded', 'pending')
        union all
        select 'charge:' || c.id || ':' || c.amount_refunded, 'charge', p.bill,
            c.amount_refunded - coalesce((select sum(r.amount) from refunds as r where r.charge = c.id), 0), null
        from payments as p
        join mirror.charges as c on c.payment_intent = p.intent or c.id = p.charge
        where length(c.account) = 0 and not c.deleted and not c.unsettled and c.amount_refunded is not null
            and c.amount_refunded > coalesce((select sum(r.amount) from refunds as r where r.charge = c.id), 0)
        union all
        select 'dispute:' || d.id, 'dispute', p.bill, d.amount, d.created
        from payments as p
        join mirror.disputes as d on d.payment_intent = p.intent or d.charge = p.charge
        where length(d.account) = 0 and not d.deleted and not d.unsettled and d.status = 'lost' and d.amount is not null
        union all
        select 'credit_note:' || n.id, 'credit_note', b.bill, n.returned, n.created
        from bills as b
        join mirror.credit_notes as n on n.invoice = b.bill and length(n.account) = 0
        where not n.deleted and not n.unsettled and n.status = 'issued' and n.returned > 0
    )
    select s.source_key, s.kind, b.bill, b.total, coalesce(s.amount, 0) as amount, g.source_key is not null as is_known,
        m.accounted, s.at
    from bills as b
    left join sources as s on s.bill = b.bill
    left join sync.token_grants as g on g.source_key = s.source_key
    cross join lateral (
        select coalesce(sum(money), 0) as accounted
        from sync.token_grants
        where stripe_invoice_id = b.bill and money <> 0
    ) as m
    where b.total is not null and (s.source_key is not null or m.accounted <> 0)
    order by b.bill, array_position(array['refund', 'dispute', 'credit_note', 'charge'], s.kind), s.source_key
"""

_RESTORED = """
    select
        g.user_id, n.source_key, n.kind, g.stripe_invoice_id as bill, g.money,
        g.source_key as taken_by
    from sync.token_grants as g
    join lateral (
        select 'refund_failed:' || id as source_key, 'refund_failed' as kind
        from mirror.refunds
        where g.kind = 'refund' and id = substr(g.source_key, 8)
            and length(account) = 0 and not unsettled and status in ('failed', 'canceled')
        union all
        select 'dispute_won:' || id, 'dispute_won'
        from mirror.disputes
        where g.kind = 'dispute' and id = substr(g.source_key, 9)
            and length(account) = 0 and not unsettled and status = 'won'
        union all
        select 'credit_note_void:' || id, 'credit_note_void'
        from mirror.credit_notes
        where g.kind = 'credit_note' and id = substr(g.source_key, 13)
            and length(account) = 0 and not unsettled and status = 'void'
    ) as n on true
    where g.user_id = any(%s) and g.kind in ('refund', 'dispute', 'credit_note')
        and not exists (select from sync.token_grants where source_key = n.source_key)
"""
