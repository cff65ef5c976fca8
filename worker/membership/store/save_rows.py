"""Write the application's other tables (not `users`): catalogue, subscriptions, payments and links.

A batch is written at once. If a table refuses a row, the rows are written one by one, so that the others succeed.
The application's column `metadata` may be json, whose values can't be compared, so statements compare it as jsonb.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import psycopg

from worker.membership.rules.changes import Turn
from worker.membership.rules.facts import User
from worker.membership.store import catalogue, held_rows, links, save
from worker.membership.store.held_rows import HeldRow

Connection = psycopg.Connection


@dataclass(frozen=True, slots=True, kw_only=True)
class Saved:
    """The result of a write.

    `turns` are, by user, the subscriptions that have begun a new period or became past due. `users` have held rows.
    `products` have no row in the application's table, so no other row can refer to them.
    """

    turns: Mapping[str, Sequence[Turn]]
    users: frozenset[str]
    products: frozenset[str]


def of_users(conn: Connection, users: Mapping[str, User]) -> Saved:
    """Write the rows of these users, and the rows to which they refer. The users are locked."""
    products, prices = save.named_in_catalogue(users.values())
    before = held_rows.concerning(conn, users, {*products, *prices})

    turns: dict[str, list[Turn]] = {}

    def write() -> None:
        catalogue.hold_places(conn, products=products, prices=prices)
        turns.update(save.save_subscriptions(conn, users))
        save.save_payments(conn, users)

    def subscription(id_: str) -> None:
        for user, begun in save.save_subscriptions(conn, users, only=id_).items():
            turns.setdefault(user, []).extend(begun)

    refused = list[HeldRow]()
    if held_rows.refusal(conn, write) is not None:
        turns.clear()
        refused += _each_place(conn, products, prices)
        subscriptions, payments = save.rows_of(conn, users)
        refused += held_rows.each(conn, "user_subscriptions", subscriptions, subscription)
        refused += held_rows.each(
            conn, "payment_history", payments, lambda id_: save.save_payments(conn, users, only=id_)
        )
    if before or refused:
        unlinked = [(row.id, row.user_id) for row in before if row.relation == "stripe_customers"]
        refused += held_rows.each(conn, "stripe_customers", unlinked, lambda id_: links.save_row(conn, id_))
        held_rows.note(conn, before, refused)
        _fill_places(conn, before, refused)
    return Saved(
        turns=turns,
        users=frozenset(row.user_id for row in refused if row.user_id),
        products=frozenset(row.id for row in refused if row.relation == "stripe_products"),
    )


def of_catalogue(conn: Connection, *, products: Collection[str], prices: Collection[str]) -> None:
    """Copy these products and prices from the mirror to the application's catalogue."""
    if not products and not prices:
        return
    before, refused = held_rows.concerning(conn, (), {*products, *prices}), list[HeldRow]()
    if held_rows.refusal(conn, lambda: catalogue.project(conn, products=products, prices=prices)) is not None:
        refused += held_rows.each(
            conn,
            "stripe_products",
            [(id_, None) for id_ in sorted(products)],
            lambda id_: catalogue.project(conn, products=[id_], prices=()),
        )
        refused += held_rows.each(
            conn,
            "stripe_prices",
            [(id_, None) for id_ in sorted(prices)],
            lambda id_: catalogue.project(conn, products=(), prices=[id_]),
        )
    if before or refused:
        held_rows.note(conn, before, refused)
    if len(refused) < len(before):
        held_rows.request_again(conn)


def of_links(conn: Connection, linked: Mapping[str, str]) -> None:
    """Insert a row in `stripe_customers` for each of these customers with its user, if it is missing."""
    if linked and held_rows.refusal(conn, lambda: links.save_rows(conn, linked)) is not None:
        rows = sorted(linked.items())
        refused = held_rows.each(conn, "stripe_customers", rows, lambda id_: links.save_rows(conn, {id_: linked[id_]}))
        held_rows.note(conn, (), refused)


def retry_catalogue(conn: Connection) -> None:
    """Write held products and prices again, in the caller's transaction."""
    held = held_rows.of_catalogue(conn)
    of_catalogue(
        conn,
        products=[row.id for row in held if row.relation == "stripe_products"],
        prices=[row.id for row in held if row.relation == "stripe_prices"],
    )


def _each_place(conn: Connection, products: Collection[str], prices: Mapping[str, str]) -> list[HeldRow]:
    """Insert each product and price by itself. A table may refuse a placeholder but accept the row from the mirror."""

    def product(id_: str) -> None:
        catalogue.project(conn, products=[id_], prices=())
        catalogue.hold_places(conn, products=[id_], prices={})

    def price(id_: str) -> None:
        catalogue.project(conn, products=(), prices=[id_])
        catalogue.hold_places(conn, products=[], prices={id_: prices[id_]})

    refused = held_rows.each(conn, "stripe_products", [(id_, None) for id_ in sorted(products)], product)
    return refused + held_rows.each(conn, "stripe_prices", [(id_, None) for id_ in sorted(prices)], price)


def _fill_places(conn: Connection, before: Collection[HeldRow], refused: Collection[HeldRow]) -> None:
    """Copy products and prices from the mirror, if their placeholders were refused before and are accepted now."""
    left = {(row.relation, row.id) for row in refused}
    free = [row for row in before if row.user_id is None and (row.relation, row.id) not in left]
    of_catalogue(
        conn,
        products=[row.id for row in free if row.relation == "stripe_products"],
        prices=[row.id for row in free if row.relation == "stripe_prices"],
    )
