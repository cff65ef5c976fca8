"""Keep erased data erased: every writer consults this list before it writes."""

from collections.abc import Sequence

import psycopg

from worker.mirror.fold import Observation
from worker.privacy import store as privacy_store
from worker.privacy.blanking import blanked, owners, user_named
from worker.stripe_api.json_paths import Json


def honour(conn: psycopg.Connection, observations: Sequence[Observation]) -> list[Observation]:
    """Return the observations, blanked if they belong to erased people. Objects of erased people are added to the list.

    Call it at the start of a transaction. It locks the list until the transaction ends. A concurrent erasure waits for the
    lock, and then finds the rows written in the transaction.
    """
    if not observations or not privacy_store.hold(conn):
        return list(observations)
    hits = _concerned(conn, [(seen.key.id, seen.key.account, seen.object) for seen in observations])
    privacy_store.add(conn, {observations[n].key.ref for n in hits})
    return [blanked(seen) if number in hits else seen for number, seen in enumerate(observations)]


def concerned(conn: psycopg.Connection, objects: Sequence[tuple[str, str, Json]]) -> set[int]:
    """The indexes of the objects (id, account, object) that belong to an erased person."""
    return _concerned(conn, objects) if objects and privacy_store.hold(conn) else set()


def _concerned(conn: psycopg.Connection, objects: Sequence[tuple[str, str, Json]]) -> set[int]:
    """Like `concerned`. An object that refers to one of the person's objects is the person's too, whatever their order."""
    named = [{(id_, account) for id_ in owners(own, obj)} for own, account, obj in objects]
    users = {n: user for n, (_, account, obj) in enumerate(objects) if account == "" and (user := user_named(obj))}
    known, gone = privacy_store.among(conn, set().union(*named), set(users.values()))
    claimed = {n: objects[n][0] for n, user in users.items() if user in gone}
    foreign = privacy_store.linked_otherwise(conn, {(id_, users[n]) for n, id_ in claimed.items()})
    hits = {n for n, id_ in claimed.items() if id_ not in foreign}
    while True:
        known |= {(objects[n][0], objects[n][1]) for n in hits}
        more = {n for n, ids in enumerate(named) if n not in hits and ids & known}
        if not more:
            return hits
        hits |= more
