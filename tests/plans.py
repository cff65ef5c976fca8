"""Fill tables so that the planner expects ten million rows in each, and find faults in the plans of statements on them.

The planner trusts the statistics of a table. These tables have few rows, and statistics that claim many.
"""

import re
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Self

import psycopg
from psycopg import sql
from psycopg.rows import Row, tuple_row

from schema import mirror

ROWS, BELIEVED = 1_000, 10_000_000
# Reading a whole table costs at least 100,000, and a whole index at least 50,000. Finding 500 rows by key costs 5,000.
MOST = 20_000
SWITCHED_OFF = 1e10
EACH_QUERY = 3

# Tables that grow with the Stripe account. The other tables have one row for each job, worker, list or product.
GROWING = (
    *(f"mirror.{name}" for name in mirror.tables),
    *(f"mirror.{name}" for name in ("subscription_history", "subscription_mrr", "customer_movements")),
    *(f"public.{name}" for name in ("users", "stripe_customers", "user_subscriptions", "payment_history")),
    *(
        f"sync.{name}"
        for name in (
            "events", "customer_links", "token_grants", "next_changes", "user_syncs", "organization_members", "overrides",
            "refetch_queue", "recompute_queue", "drift", "erased", "changes", "change_deliveries",
        )
    ),
)  # fmt: skip

# Values that many rows share. Everything else differs from row to row.
_SHARED = {
    "account": "''", "deleted": "false", "unsettled": "false", "livemode": "false", "deferred": "false",
    "account_id": "''", "error": "null", "last_error": "null", "missing_at": "null",
    "leased_until": "null", "shape": "'endive'", "content_hash": "md5(n::text)", "object": "'balance_transaction'",
    "until": "null", "attempts": "1", "source": "'metadata'", "swept_at": "now()", "lots": "null", "history": "null",
}  # fmt: skip
_COMING = ("due_at", "next_attempt_at", "observed_at", "tokens_expires_at", "expires_at")
_STATUS = {
    "events": "'done'",
    "subscriptions": "'active'",
    "user_subscriptions": "'active'",
    "payment_history": "'paid'",
}


def fill(conn: psycopg.Connection) -> None:
    """Fill the growing tables with objects of the years 2013 to 2021, and set statistics that claim many more rows."""
    conn.execute("set session_replication_role = replica")
    for table in GROWING:
        columns = _columns(conn, table)
        values = ", ".join(_value(table, *column) for column in columns)
        names = ", ".join(f'"{name}"' for name, _ in columns)
        conn.execute(f"insert into {table} ({names}) select {values} from generate_series(1, {ROWS}) as n")
        conn.execute(f"alter table {table} set (autovacuum_enabled = off)")
    conn.execute("reset session_replication_role")
    conn.execute("analyze")
    conn.execute(
        "update pg_class set reltuples = %s where oid = any(%s::regclass[]) or oid in "
        "(select indexrelid from pg_index where indrelid = any(%s::regclass[]) and indpred is null)",
        (BELIEVED, list(GROWING), list(GROWING)),
    )


def _columns(conn: psycopg.Connection, table: str) -> list[tuple[str, str]]:
    return conn.execute(
        """
        select attname, format_type(atttypid, atttypmod) from pg_attribute
        where attrelid = %s::regclass and attnum > 0 and not attisdropped and attidentity = '' and attgenerated = ''
        """,
        (table,),
    ).fetchall()


def _value(table: str, name: str, type_: str) -> str:
    singular = table.partition(".")[2].removesuffix("s")
    if name in _SHARED:
        return _SHARED[name]
    if (table, name) == ("sync.changes", "type"):
        return "'tokens.low'"
    if name == "status":
        return _STATUS.get(table.partition(".")[2], "'succeeded'")
    match type_:
        case "text":
            word = (
                singular if name == "id" else name.removesuffix("_id").removeprefix("stripe_").removeprefix("metadata_")
            )
            return f"'{word}_' || n"
        case "timestamp with time zone":
            past = f"'2013-01-01'::timestamptz + n * interval '3 days' + interval '{len(name)} hours'"
            return "now() + n * interval '1 hour'" if name in _COMING else past
        case "jsonb":
            return f"jsonb_build_object('id', '{singular}_' || n, 'metadata', '{{}}'::jsonb)"
        case "boolean":
            return "false"
        case "interval":
            return "interval '1 minute'"
        case "text[]":
            return "array['status']"
        case "date":
            return "'2013-01-01'::date + n"
        case "numeric[]" | "bigint[]":
            return "array[n]"
        case "smallint" | "integer" | "bigint" | "numeric":
            return "n"
    return f"enum_first(null::{type_})"


@dataclass
class Plans:
    """A record of the statements sent to a database, and of the faults in their plans."""

    dsn: str
    seen: Counter[str] = field(default_factory=Counter)
    faults: dict[str, str] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def connect(self) -> psycopg.Connection:
        """Return a connection in autocommit that explains each statement before it runs it."""
        look = self._look

        class Explaining(psycopg.Cursor[Row]):
            def execute(self, query: Any, params: Any = None, **options: Any) -> Self:
                look(self.connection, query, params)
                return super().execute(query, params, **options)

        return psycopg.connect(self.dsn, autocommit=True, cursor_factory=Explaining)

    def _look(self, conn: psycopg.Connection[Any], query: Any, params: Any) -> None:
        text = query.as_string(conn) if isinstance(query, sql.Composable) else str(query)
        if not re.match(r"\s*(select|insert|update|delete|with|merge)\b", text, re.IGNORECASE):
            return
        with self.lock:
            self.seen[text] += 1
            if self.seen[text] > EACH_QUERY:
                return
        if (fault := self.fault_of(conn, text, params)) is not None:
            self.faults.setdefault(text, f"{fault}\n{text}")

    def fault_of(self, conn: psycopg.Connection[Any], statement: str, params: Any = None) -> str | None:
        """Describe the fault in the statement's plan. Return None if the plan reads few rows."""
        cursor = psycopg.Cursor(conn, row_factory=tuple_row)
        ((plan,),) = cursor.execute("explain (format json) " + statement, params).fetchall()
        return _fault(plan[0]["Plan"])


def _fault(plan: dict[str, Any]) -> str | None:
    for node in _nodes(plan):
        table = f"{node.get('Schema', '')}.{node.get('Relation Name')}"
        # A subplan without a filter, such as EXISTS, stops at the first row, so it does not read the whole table.
        takes_the_first_row = "Filter" not in node and node.get("Parent Relationship") in ("InitPlan", "SubPlan")
        if (
            node["Node Type"] == "Seq Scan"
            and any(each.endswith(table) for each in GROWING)
            and not takes_the_first_row
        ):
            return f"reads {table} whole"
    cost = _cost(plan)
    # A Tid Range Scan reads a fixed range of blocks, so its cost does not grow with the table.
    if cost <= MOST or any(node["Node Type"] == "Tid Range Scan" for node in _nodes(plan)):
        return None
    reads = [node for node in _nodes(plan) if "Relation Name" in node and node["Node Type"] != "ModifyTable"]
    costliest = max(reads, key=_cost, default=plan)
    if _cost(costliest) <= MOST:
        return None  # the cost is in the computation, and few rows are read
    names = f"{costliest.get('Relation Name')} {costliest.get('Index Name', '')}"
    return f"costs {cost:,.0f}: {costliest['Node Type']} of {names}"


def _cost(plan: dict[str, Any]) -> float:
    """The cost of a plan without the penalty of `enable_seqscan=off`, which PostgreSQL before 18 includes in the cost."""
    return float(plan["Total Cost"]) % SWITCHED_OFF


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for child in plan.get("Plans", ()):
        yield from _nodes(child)
