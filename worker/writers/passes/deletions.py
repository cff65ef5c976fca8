"""Mark absent objects as deleted, after their list was read to its end, unless there are too many.

With a truncated list, or with the key of another account, most of a table would look deleted. So if a pass would mark
more than MAX_DELETED_SHARE of the rows of a list (of one account), it marks none and reports an error.
"""

from collections.abc import Callable, Mapping, Sequence
from math import ceil

import psycopg

from worker.config.errors import Permanent
from worker.membership.rules.access import Policy
from worker.mirror import absences, shards
from worker.mirror.absences import MOST_COUNTED, Absence
from worker.mirror.fold import Key
from worker.mirror.shards import Standing
from worker.observe import log
from worker.stripe_api.answers import Answer
from worker.stripe_api.json_paths import Json
from worker.writers.list_pass import Tally, record_absent
from worker.writers.passes.plan import Options, Shape

_log = log.get("pass")

# Up to this number, deletions are accepted at any share, because most objects of a small table may really be deleted.
ALWAYS_BELIEVED = 10
# With at least this many answers, their share of missing objects is used as an estimate for the remaining objects.
SAMPLE = 50
# This many objects are marked in one transaction.
AT_ONCE = 100


class TooManyDeleted(Permanent):
    """A pass would mark more rows of a list deleted than MAX_DELETED_SHARE allows."""


def guard(
    conn: psycopg.Connection,
    run: int,
    standings: Mapping[str, Standing],
    shapes: Mapping[str, Shape],
    options: Options,
) -> None:
    """Give up each list that lacks more mirrored objects than MAX_DELETED_SHARE allows, because then something else
    must be wrong."""
    for list_, (unasked, gone) in absences.counts(conn, run).items():
        standing, shape = standings.get(list_), shapes.get(list_)
        if standing is None or standing.error is not None or shape is None or shape.listing.object is None:
            continue
        answered = gone + standing.tally.get("found", 0)
        likely = gone + (unasked * gone // answered if answered >= SAMPLE else 0)
        if likely <= ALWAYS_BELIEVED or options.max_deleted_share >= 1:
            continue
        # With this many rows, the deletions are within the share. Counting more rows would not change the decision.
        enough = ceil(likely / options.max_deleted_share) if options.max_deleted_share else MOST_COUNTED
        rows = _rows(conn, shape, most=enough)
        if likely > rows * options.max_deleted_share:
            error = _too_many(list_, likely, rows, options.max_deleted_share)
            shards.fail(conn, run, list_, str(error))
            absences.drop_list(conn, run, list_)
            _log.error("list.given_up", run=run, error=str(error), **error.ids)


def _rows(conn: psycopg.Connection, shape: Shape, *, most: int) -> int:
    """The number of mirrored rows that belong to the list, counted up to `most`."""
    listing = shape.listing
    assert listing.object is not None
    parent = shape.parents.row.parent_field if shape.parents is not None else None
    return absences.count(conn, listing.object, account=listing.account, final=listing.final, parent=parent, most=most)


def mark(
    conn: psycopg.Connection,
    run: int,
    list_: str,
    shape: Shape | None,
    policy: Policy,
    *,
    alive: Callable[[], object],
) -> None:
    """Mark as deleted the objects of a list that Stripe no longer has. `alive` is called after each batch."""
    while gone := absences.gone(conn, run, list_, limit=AT_ONCE):
        tally = Tally()
        answers = _answers(conn, shape, gone)
        with conn.transaction():
            record_absent(conn, answers, policy, tally)
            shards.count(conn, run, list_, {"marked_deleted": tally.marked_deleted})
            absences.drop(conn, run, gone)
        alive()


def _answers(conn: psycopg.Connection, shape: Shape | None, gone: Sequence[Absence]) -> list[tuple[Key, Answer, int]]:
    """The answers to record for these rows.

    A child with its own table keeps the id of its parent, because users may depend on it.
    """
    column = shape.parents.row.parent_field if shape is not None and shape.parents is not None else None
    parents = (
        absences.parents_of(conn, gone[0].object, column, gone) if column is not None and column != "parent" else {}
    )
    answers = []
    for each in gone:
        bare: Json = {"id": each.id, "object": each.object, "deleted": True}
        if column is not None and (parent := parents.get((each.id, each.account))) is not None:
            bare[column] = parent
        answers.append((each.key, Answer(bare, deleted=True, missing=True, read_at=each.read_at or 0), each.rev))
    return answers


def _too_many(list_: str, likely: int, rows: int, share: float) -> TooManyDeleted:
    return TooManyDeleted(
        f"{list_}: Stripe no longer has {likely:,} or more of the {rows:,} mirrored objects of this list, which is more than "
        f"MAX_DELETED_SHARE ({share:g}) allows in one pass. Nothing was marked deleted. Check that STRIPE_SECRET_KEY is "
        "the key of the mirrored account; if they were really deleted, set MAX_DELETED_SHARE=1 for one pass",
        list=list_,
        deleted=likely,
    )
