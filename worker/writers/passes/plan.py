"""The configuration of a pass, and of each list that it reads."""

from collections.abc import Callable
from dataclasses import dataclass

import psycopg

from worker.stripe_api.answers import Page
from worker.stripe_api.lists import LISTS
from worker.writers.list_pass import Listing
from worker.writers.passes.parents import Parents


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How to carry out a pass.

    `threads` and `threads_per_list`: how many pages are read at once, in total and of one list. `pages`: the most pages
    that this call reads. `failures`: how often in a row a list may fail before this run gives it up. `splits`: whether
    shards are divided further, so that all threads have work. `users_later`: whether users are computed later, after
    all their objects were read.
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
    """How a pass reads a list.

    `after` names lists that must be finished first. `record` writes a page of a list that is not mirrored, and returns
    the tally. `step` does work in the database in place of reading a list: each call does a part and returns its size.
    The work is finished when it returns 0 after all other lists were read.
    """

    listing: Listing
    by_created: bool = True
    after: tuple[str, ...] = ()
    parents: Parents | None = None
    record: Callable[[psycopg.Connection, Page], dict[str, int]] | None = None
    step: Callable[[psycopg.Connection], int] | None = None


def shape_of(name: str, account: str = "") -> Shape:
    """The shape of a list for an account; the empty string is our own account."""
    row = LISTS[name]
    listing = Listing(object=row.object, path=row.path, params=row.params, account=account)
    parents = Parents(row, account) if row.parent is not None else None
    return Shape(listing, by_created=row.by_created, after=row.after, parents=parents)


def every_shape(account: str = "") -> dict[str, Shape]:
    """The shapes of all lists for an account."""
    return {name: shape_of(name, account) for name in LISTS}
