"""How a pass over lists is carried out, and what it knows of each list."""

from collections.abc import Callable
from dataclasses import dataclass

import psycopg

from worker.stripe_api.client import Page
from worker.stripe_api.lists import LISTS
from worker.writers.list_pass import Listing
from worker.writers.passes.parents import Parents


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How a pass is carried out.

    `threads`: pages read at once, in all and of one list. `pages`: how many this call reads at most. `failures`: how often
    a list may fail in a row before it is given up in this run. `splits`: whether shards are cut further, so that all
    threads have something to do. `users_later`: whether users are computed once their objects are all there.
    """

    threads: int = 16
    threads_per_list: int = 12
    pages: int | None = None
    failures: int = 4
    splits: bool = True
    users_later: bool = False
    max_deleted_share: float = 0.1


@dataclass(frozen=True, slots=True)
class Shape:
    """A list as the pass reads it: its request, and its order. `record` writes a page of a list that does not
    go into the mirror, and returns its tally. `step` replaces reading: it does a
    part of some work in the database and returns its size. The work ends with a 0 after all other lists are read."""

    listing: Listing
    by_created: bool = True
    after: tuple[str, ...] = ()
    parents: Parents | None = None
    record: Callable[[psycopg.Connection, Page], dict[str, int]] | None = None
    step: Callable[[psycopg.Connection], int] | None = None


def shape_of(name: str, account: str = "") -> Shape:
    """How a list of Stripe's is read for an account; empty: our own."""
    row = LISTS[name]
    listing = Listing(object=row.object, path=row.path, params=row.params, account=account)
    parents = Parents(row, account) if row.parent is not None else None
    return Shape(listing, by_created=row.by_created, after=row.after, parents=parents)


def every_shape(account: str = "") -> dict[str, Shape]:
    """How every list is read for an account."""
    return {name: shape_of(name, account) for name in LISTS}
