"""Configure a pass over lists, and each of its lists."""

from collections.abc import Callable
from dataclasses import dataclass

import psycopg

from worker.stripe_api.client import Page
from worker.stripe_api.lists import LISTS
from worker.writers.list_pass import Listing
from worker.writers.passes.parents import Parents


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How to carry out a pass.

    `threads`: pages read at once, in all and of one list. `pages`: the most that this call reads. `failures`: how often
    in a row a list may fail before it is given up in this run. `splits`: whether shards are divided further, so that
    all threads have work. `users_later`: whether users are computed once all their objects are there.
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
    """A list as the pass reads it: its request, and its order.

    `record` writes a page of a list that is not mirrored, and returns its tally. `step` replaces reading: it does a
    part of some work in the database and returns its size. That work ends with a 0 after all other lists are read.
    """

    listing: Listing
    by_created: bool = True
    after: tuple[str, ...] = ()
    parents: Parents | None = None
    record: Callable[[psycopg.Connection, Page], dict[str, int]] | None = None
    step: Callable[[psycopg.Connection], int] | None = None


def shape_of(name: str, account: str = "") -> Shape:
    """How to read a list of Stripe's for an account; empty: our own."""
    row = LISTS[name]
    listing = Listing(object=row.object, path=row.path, params=row.params, account=account)
    parents = Parents(row, account) if row.parent is not None else None
    return Shape(listing, by_created=row.by_created, after=row.after, parents=parents)


def every_shape(account: str = "") -> dict[str, Shape]:
    """How to read every list for an account."""
    return {name: shape_of(name, account) for name in LISTS}
