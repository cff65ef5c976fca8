"""The job that computes the users of changed products, one batch in each transaction.

With PRODUCT_CHANGES=apply, a worker runs it as soon as the change is mirrored. With PRODUCT_CHANGES=plan, the change
waits until an operator runs `stripe-sync membership apply`; `membership plan` shows it. A user who is computed for
another reason gets what the products give now.
"""

from collections.abc import Callable
from typing import Any

import psycopg

from worker.membership import compute
from worker.membership.rules.access import Policy
from worker.membership.store import product_changes
from worker.observe import log
from worker.postgres import cursors

_log = log.get("membership")

CURSOR = "product changes"


def compute_waiting(
    conn: psycopg.Connection, policy: Policy, *, should_continue: Callable[[], bool], batch: int = 200
) -> bool:
    """Compute the users of every changed product.

    Returns False if time ran out, or if a transaction that may not have seen the change is still open.
    """
    if policy.off:
        return True
    with conn.transaction():
        added = product_changes.look_up(conn)
        if added:
            done = (cursors.read(conn, CURSOR) or {}).get("done", 0)
            cursors.save(conn, CURSOR, {"done": done, "of": done + product_changes.users_left(conn)})
    while should_continue():
        with conn.transaction():
            users = product_changes.take(conn, limit=batch)
            compute.compute_each(conn, sorted(users), policy, concerned_only=True)
            place = cursors.read(conn, CURSOR) or {"done": 0, "of": len(users)}
            cursors.save(conn, CURSOR, place | {"done": place["done"] + len(users)})
        if len(users) < batch:
            break
    if product_changes.users_left(conn):
        return False
    if (place := cursors.read(conn, CURSOR)) is not None:
        cursors.drop(conn, CURSOR)
        _log.info("product_changes.applied", users=place["done"])
    return not product_changes.waiting(conn)


def progress(conn: psycopg.Connection) -> dict[str, Any]:
    """The products whose change is not applied yet, the number of users computed so far, and the number of all users to
    compute."""
    place = cursors.read(conn, CURSOR)
    return {
        "products_waiting": [row["product_id"] for row in product_changes.waiting(conn)],
        "users_done": place["done"] if place else 0,
        "users": place["of"] if place else 0,
    }
