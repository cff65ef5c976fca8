"""The job that explains a user: load the facts and the evidence, and let the rules explain them."""

from datetime import UTC, datetime

import psycopg

from worker.membership.rules.access import Policy
from worker.membership.rules.explain import Explanation, explain
from worker.membership.store import load_evidence, load_facts


def why(conn: psycopg.Connection, user: str, policy: Policy, *, entries: int = 10) -> Explanation | None:
    """Explain the user; returns None if there is no such user. Reads in the caller's transaction, and locks nothing."""
    users, products = load_facts.load(conn, load_facts.read_users(conn, [user]))
    if not users:
        return None
    (facts,) = users.values()
    return explain(facts, products, policy, datetime.now(UTC), load_evidence.read(conn, facts, entries=entries))
