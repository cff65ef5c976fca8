"""Plans of the statements that compute a user, made and kept while the tables are empty and have no statistics."""

import re
from collections.abc import Iterator
from typing import Any, Self

import psycopg
from psycopg.rows import Row

from tests.factories import customer, encoded, event, invoice, price, product, subscription
from worker.inbox import store as inbox
from worker.membership.rules.access import Policy
from worker.stripe_api.envelope import read_envelope
from worker.writers.apply import Applier

_JOINS = ("Hash Join", "Merge Join")


def faults(plan: dict[str, Any]) -> Iterator[str]:
    """The nodes that would read a whole table of the mirror, once it is large."""
    relation, condition = plan.get("Relation Name"), str(plan.get("Index Cond", ""))
    if plan["Node Type"] in _JOINS:
        yield plan["Node Type"]
    elif plan.get("Schema") == "mirror" and plan["Node Type"] in ("Seq Scan", "Index Scan", "Index Only Scan"):
        keys = re.findall(r"\(?\b(\w+) = ", condition)
        if set(keys) <= {"account"}:
            yield f"{plan['Node Type']} of {relation} by {condition or 'nothing'}"
    for child in plan.get("Plans", ()):
        yield from faults(child)


def test_statements_about_users_find_rows_by_key_without_statistics(database: str) -> None:
    explained: dict[str, list[str]] = {}
    computing = 0

    class Explaining(psycopg.Cursor[Row]):
        def execute(self, query: Any, params: Any = None, **options: Any) -> Self:
            nonlocal computing
            text = str(query)
            kept = self.connection.execute_plain("show plan_cache_mode") if params else None  # type: ignore[attr-defined]
            if kept == "force_generic_plan" and re.match(r"\s*(select|insert|update|delete|with)\b", text):
                computing += 1
                plan = self.connection.execute_plain("explain (format json, verbose) " + text, params)  # type: ignore[attr-defined]
                explained.setdefault(text, []).extend(faults(plan[0]["Plan"]))
            return super().execute(query, params, **options)

    class Connection(psycopg.Connection[Any]):
        def execute_plain(self, query: Any, params: Any = None) -> Any:
            row = psycopg.Cursor(self).execute(query, params).fetchone()
            assert row is not None
            return row[0]

    with Connection.connect(database, autocommit=True, cursor_factory=Explaining) as conn:
        conn.execute("insert into users (id, email) values ('jenny', 'jenny@example.com')")
        sent = [
            event("product.created", product()),
            event("price.created", price()),
            event("customer.created", customer(user_id="jenny")),
            event("customer.subscription.created", subscription()),
            event("invoice.paid", invoice()),
        ]
        inbox.store(conn, [read_envelope(encoded(one).decode()) for one in sent])
        Applier(livemode=False, policy=Policy()).drain(conn)
        assert conn.execute("select role::text from users").fetchone() == ("PREMIUM",)

    assert {text: wrong for text, wrong in explained.items() if wrong} == {}
    assert computing > 20
