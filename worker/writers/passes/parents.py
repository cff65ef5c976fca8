"""Lists under a parent: the threads of one pass share the parents.

The parents are read from the mirror, in the order of their ids. A parent is done when the last page of its list is
written. The position holds the id up to which all parents are done, and the later parents that are done already.
"""

import threading
from collections import OrderedDict, deque
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec
import psycopg

from schema import mirror as schema
from worker.membership.store import product_changes
from worker.mirror import absences
from worker.mirror import store as mirror
from worker.mirror.fold import Key
from worker.mirror.registry import entitlement_summary, object_type
from worker.mirror.version import AMBIGUITY_SECONDS
from worker.stripe_api.answers import Page
from worker.stripe_api.lists import LISTS, StripeList
from worker.writers.list_pass import Place

BATCH = 200


@dataclass(frozen=True, slots=True)
class Parents:
    """The parents of a list, of one account. `row` is the list of their children.

    `due_before` leaves out products whose features were read after that time.
    """

    row: StripeList
    account: str = ""
    due_before: datetime | None = None

    def walk(self, place: Place, tally: dict[str, int]) -> "Walk":
        return Walk(self, place, tally)

    def after(self, conn: psycopg.Connection, id_: str) -> list[str]:
        """The next parents after this id."""
        assert self.row.parent is not None
        object_ = LISTS[self.row.parent].object
        assert object_ is not None
        table = object_type(object_).table.name
        conditions = ["account = %(account)s", "not deleted", "id > %(after)s"]
        if "object" in schema.tables[table].columns:
            conditions.append("object = %(object)s")
        if self.row.parent_having is not None:
            conditions.append("data ->> %(having)s is not null")
        if self.due_before is not None:
            conditions.append(product_changes.DUE)
        values = {
            "account": self.account,
            "after": id_,
            "object": object_,
            "having": self.row.parent_having,
            "due_before": self.due_before,
        }
        rows = conn.execute(
            f"select id from mirror.{table} where {' and '.join(conditions)} order by id limit {BATCH}",  # noqa: S608
            values,
        )
        return [row[0] for row in rows]


@dataclass(frozen=True, slots=True)
class Step:
    """The next page to read: the parent and the request."""

    parent: str
    request: tuple[str, dict[str, Any]]


class Walk:
    """The parents of one shard.

    A thread takes `lock` before it writes a page, and keeps it until the page is accepted. A thread that holds a
    connection may wait for the inner lock. A thread that holds the inner lock must not wait for a connection.
    """

    def __init__(self, parents: Parents, place: Place, tally: dict[str, int]) -> None:
        self._parents, self._place, self.tally = parents, place, dict(tally)
        self.lock = threading.Lock()
        self._inner = threading.RLock()
        self._known: deque[str] = deque()
        self._last = place.parent
        # The parents that were started, in order, and whether each is done.
        self._begun: OrderedDict[str, bool] = OrderedDict()
        self._again: deque[Step] = deque()
        # For each parent whose first page this process has read: the time of that read, and the ids of the children so
        # far.
        self._shown: dict[str, tuple[int, frozenset[str]]] = {}
        self._exhausted = self._ended = False

    @property
    def is_of_our_products(self) -> bool:
        """Whether the lists contain the features of products of our own account."""
        return self._parents.row.object == "product_feature" and not self._parents.account

    @property
    def is_complete(self) -> bool:
        with self._inner:
            return self._exhausted and not self._ended and all(self._begun.values())

    def next(self, conn: psycopg.Connection) -> Step | None:
        """The next page to read that no other thread reads; None if there is none."""
        with self._inner:
            if self._ended:
                return None
            if self._again:
                return self._again.popleft()
            while not self._exhausted:
                if not self._known:
                    parents = self._parents.after(conn, self._last)
                    self._known.extend(parents)
                    self._exhausted = not parents
                    continue
                parent = self._last = self._known.popleft()
                self._begun[parent] = parent in self._place.ahead
                if self._begun[parent]:
                    continue
                return self._step(parent, self._place.open.get(parent))
            return None

    def _step(self, parent: str, after: str | None) -> Step:
        path, params = self._parents.row.request(parent)
        return Step(parent, (path, {**params, **({} if after is None else {"starting_after": after})}))

    def begin_again(self, step: Step) -> None:
        """Read the parent's list again from its beginning, because the object after which the next page begins was
        deleted."""
        with self._inner:
            self._again.append(self._step(step.parent, None))

    def recorded(self, conn: psycopg.Connection, step: Step, page: Page) -> Page:
        """The page of objects to record.

        Active entitlements are written as the summary of their customer, as events contain it. A customer who never had
        an entitlement gets no summary.
        """
        if self._parents.row.object != "entitlements.active_entitlement":
            return page
        later = "starting_after" in step.request[1]
        key = Key("objects", "entitlements.active_entitlement_summary", step.parent, self._parents.account)
        if not page.data and not later and mirror.standing(conn, key) == (0, False):
            return Page([], has_more=False, read_at=page.read_at, shape=page.shape)
        active = {"object": "list", "data": page.data, "has_more": page.has_more or later, "url": step.request[0]}
        return Page([entitlement_summary(step.parent, active)], has_more=False, read_at=page.read_at, shape=page.shape)

    def name_parent(self, step: Step, page: Page) -> None:
        """Add the parent's id to each child that has its own table, if Stripe leaves it out."""
        if (field := self._parents.row.parent_field) not in (None, "parent"):
            for obj in page.data:
                obj.setdefault(field, step.parent)

    def file(self, conn: psycopg.Connection, step: Step, page: Page) -> None:
        """For children in `mirror.objects`, store the parent in the column `parent`."""
        if self._parents.row.parent_field == "parent":
            shown = [(str(obj.get("object")), obj["id"]) for obj in page.data if isinstance(obj.get("id"), str)]
            mirror.file_under(conn, shown, account=self._parents.account, parent=step.parent)

    def absent(self, conn: psycopg.Connection, step: Step, page: Page) -> list[tuple[str, int]]:
        """The mirrored children of the parent that are absent from its list. Empty until all pages of the list were
        read."""
        row = self._parents.row
        if row.parent_field is None or row.object is None:
            return []
        ids = frozenset(obj["id"] for obj in page.data)
        if "starting_after" not in step.request[1]:
            self._shown[step.parent] = page.read_at, ids
        elif step.parent in self._shown:
            read_at, before = self._shown[step.parent]
            self._shown[step.parent] = read_at, before | ids
        if page.has_more or step.parent not in self._shown:
            return []
        read_at, shown = self._shown[step.parent]
        expected = absences.expected(
            conn,
            row.object,
            account=self._parents.account,
            before=read_at - AMBIGUITY_SECONDS,
            parent=(row.parent_field, step.parent),
        )
        return [(id_, rev) for id_, rev in expected if id_ not in shown]

    def after(self, step: Step, page: Page | None) -> Place:
        """The position after the page is written."""
        opened = {parent: after for parent, after in self._place.open.items() if parent != step.parent}
        if page is not None and page.has_more:
            return msgspec.structs.replace(self._place, open={**opened, step.parent: page.data[-1]["id"]})
        parent, ahead, is_leading = self._place.parent, [], True
        with self._inner:
            for id_, is_done in self._begun.items():
                is_done = is_done or id_ == step.parent
                is_leading = is_leading and is_done
                if is_leading:
                    parent = id_
                elif is_done:
                    ahead.append(id_)
        return Place(parent=parent, ahead=tuple(ahead), open=opened)

    def accept(self, step: Step, page: Page | None, tally: dict[str, int]) -> None:
        """Move on after the page was written."""
        self._place, self.tally = self.after(step, page), tally
        if page is not None and page.has_more:
            self._again.append(self._step(step.parent, page.data[-1]["id"]))
            return
        self._shown.pop(step.parent, None)
        self.tally["parents"] = self.tally.get("parents", 0) + 1
        with self._inner:
            self._begun[step.parent] = True
            while self._begun and self._begun[next(iter(self._begun))]:
                self._begun.popitem(last=False)

    def end(self) -> None:
        """Stop reading parents, because the list failed."""
        self._ended = True
