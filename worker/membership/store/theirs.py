"""The join of users' links with their customers' objects, which every statement about users begins with."""

from schema import mirror


def theirs(table: str, alias: str, columns: str) -> str:
    """`from` for the links `l`, and as `alias` these columns of the rows of a table of the mirror with their customers.

    `offset 0` and the length keep the planner from reading the table, or its index by account, from the beginning, which
    it prefers while it has no statistics. Measured: the first 6,000 events of users took 280 us of Postgres each, not 200.
    """
    assert "customer" in mirror.tables[table].columns
    return f"""
        sync.customer_links as l
        cross join lateral (
            select {columns} from mirror.{table} where customer = l.stripe_customer_id and length(account) = 0 offset 0
        ) as {alias}
    """  # noqa: S608 - names from the schema
