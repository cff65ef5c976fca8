"""The rows of the application's tables beside `users`: its catalogue, subscriptions, payments and links.

All of a batch is written at once. Only where a table refuses a row is each written by itself, so that the others stand.
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
    """The result of a write: the users of rows that are held back, the products that have no row to refer to, and by user the
    subscriptions that have begun a new period, or become past due."""

    turns: Mapping[str, Sequence[Turn]]
    users: frozenset[str]
    products: frozenset[str]


def of_users(conn: Connection, users: Mapping[str, User]) -> Saved:
    """Write the rows of these users, who are locked, and what they refer to."""
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
    """The application's catalogue says what the mirror says of these."""
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
    """A row in `stripe_customers` for each of these customers, by their users, where there is none."""
    if linked and held_rows.refusal(conn, lambda: links.save_rows(conn, linked)) is not None:
        rows = sorted(linked.items())
        refused = held_rows.each(conn, "stripe_customers", rows, lambda id_: links.save_rows(conn, {id_: linked[id_]}))
        held_rows.note(conn, (), refused)


def retry_catalogue(conn: Connection) -> None:
    """Try the products and prices again that are held back. In the caller's transaction."""
    held = held_rows.of_catalogue(conn)
    of_catalogue(
        conn,
        products=[row.id for row in held if row.relation == "stripe_products"],
        prices=[row.id for row in held if row.relation == "stripe_prices"],
    )


def _each_place(conn: Connection, products: Collection[str], prices: Mapping[str, str]) -> list[HeldRow]:
    """Hold each place by itself. A table may refuse an empty place, and take the whole row that the mirror has."""

    def product(id_: str) -> None:
        catalogue.project(conn, products=[id_], prices=())
        catalogue.hold_places(conn, products=[id_], prices={})

    def price(id_: str) -> None:
        catalogue.project(conn, products=(), prices=[id_])
        catalogue.hold_places(conn, products=[], prices={id_: prices[id_]})

    refused = held_rows.each(conn, "stripe_products", [(id_, None) for id_ in sorted(products)], product)
    return refused + held_rows.each(conn, "stripe_prices", [(id_, None) for id_ in sorted(prices)], price)


def _fill_places(conn: Connection, before: Collection[HeldRow], refused: Collection[HeldRow]) -> None:
    """A place that could not be held until now gets what the mirror says."""
    left = {(row.relation, row.id) for row in refused}
    free = [row for row in before if row.user_id is None and (row.relation, row.id) not in left]
    of_catalogue(
        conn,
        products=[row.id for row in free if row.relation == "stripe_products"],
        prices=[row.id for row in free if row.relation == "stripe_prices"],
    )
