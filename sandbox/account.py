"""The account: its objects, its clock and its events. Every change of the sandbox goes through here."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import blake2b
from typing import Any

from sandbox.clock import Clock
from sandbox.errors import missing
from sandbox.events import Event, EventLog, changes_by_name
from sandbox.ids import Ids
from sandbox.kinds import KINDS
from sandbox.shapes.blanks import BLANKS
from sandbox.store import Record, Store, Version, View


class Account:
    """One Stripe account in test mode."""

    def __init__(self, *, seed: int = 0, clock: Clock | None = None, connected_as: str = "") -> None:
        """`connected_as` is the id of a connected account.

        Its objects may have the same ids as objects of another account. Its events must have different ids.
        """
        self.connected_as = connected_as
        self.clock = clock or Clock()
        self.ids = Ids(seed)
        self._request_ids = Ids(seed)
        self.store = Store()
        self.log = EventLog()
        self.deletes_show_stubs = False
        self.on_version: Callable[[str, str, Version], None] | None = None
        self.on_event: Callable[[Event], None] | None = None
        self._request: tuple[str | None, str | None] = (None, None)

    def clear(self, *, seed: int | None = None) -> None:
        """Forget every object and event, and start the sequence of ids again."""
        self.ids = Ids(self.ids.seed if seed is None else seed)
        self._request_ids = Ids(self.ids.seed)
        self.store = Store()
        self.log = EventLog()
        self.deletes_show_stubs = False

    @property
    def now(self) -> int:
        """The sandbox's time, in whole seconds."""
        return self.clock.now()

    @property
    def view(self) -> View:
        """The present state of the account."""
        return self.store.view()

    def find(self, kind: str, id: str | None) -> Record | None:
        """A copy of a record, or None."""
        return self.view.find(kind, id)

    def get(self, kind: str, id: str) -> Record:
        """A copy of a record that must exist."""
        return self.view.get(kind, id)

    def require(self, kind: str, id: str, *, param: str = "id", status: int = 400) -> Record:
        """A copy of a record that a request names; refuses the request if it does not exist."""
        record = self.find(kind, id)
        if record is None:
            raise missing(kind, id, param=param, status=status)
        return record

    def create(self, kind: str, record: Record) -> Record:
        """Store a new object."""
        self._kept(kind, record["id"], self.store.put(kind, record, self.now))
        return record

    def change(self, kind: str, id: str, **changes: Any) -> int:
        """Change fields of an object. Returns the number of the version before, which an update event needs."""
        before = self.store.number
        record = self.get(kind, id)
        record.update(changes)
        self._kept(kind, id, self.store.put(kind, record, self.now))
        return before

    def delete(self, kind: str, id: str) -> None:
        """Delete an object. Its versions stay in its history."""
        self._kept(kind, id, self.store.delete(kind, id, self.now))

    def emit(self, type: str, kind: str, id: str, *, since: int | None = None) -> None:
        """Make an event for an object. For an update, `since` is the number of the version before it."""
        event = self._event(type, kind, id, since)
        event.as_stub = self.deletes_show_stubs and type == f"{kind}.deleted"
        self._happened(event)
        if since is not None:
            old, new = self.store.view(since).get(kind, id), self.get(kind, id)
            for name in changes_by_name(type, old, new):
                closer = self._event(name, kind, id, None)
                closer.thin_only = True
                self._happened(closer)

    def update(self, type: str, kind: str, id: str, **changes: Any) -> None:
        """Change an object and make its event, unless nothing changed."""
        record, blank = self.get(kind, id), BLANKS[kind]
        if any(record.get(name, blank.get(name)) != value for name, value in changes.items()):
            self.emit(type, kind, id, since=self.change(kind, id, **changes))

    @contextmanager
    def requested(self, id: str | None, idempotency_key: str | None = None) -> Iterator[None]:
        """Events in this block come from one request."""
        before, self._request = self._request, (id, idempotency_key)
        try:
            yield
        finally:
            self._request = before

    @contextmanager
    def by_itself(self) -> Iterator[None]:
        """Events in this block come from no request, like the events of a renewal."""
        with self.requested(None):
            yield

    def request_id(self) -> str:
        """An id for a request. Request ids have their own generator, so that requests do not change the ids of later objects."""
        return self._request_ids.plain("req_")

    def _event(self, type: str, kind: str, id: str, since: int | None) -> Event:
        created = self.clock.precise()
        return Event(
            id=self._own(self._event_id(kind, id, int(created))),
            thin_id=self._own(self.ids.plain("evt_test_61", 49)),
            type=type,
            kind=kind,
            object_id=id,
            created=created,
            number=self.store.number,
            since=since,
            request_id=self._request[0],
            idempotency_key=self._request[1],
        )

    def _own(self, id: str) -> str:
        """An event id that is unique across accounts."""
        return id[:-6] + blake2b(self.connected_as.encode(), digest_size=3).hexdigest() if self.connected_as else id

    def _happened(self, event: Event) -> None:
        self.log.add(event)
        if self.on_event is not None:
            self.on_event(event)

    def _event_id(self, kind: str, id: str, second: int) -> str:
        """An event id that contains the time. The event of a payment has the time at which the payment was created."""
        if kind in ("payment_intent", "charge", "refund"):
            return f"evt_3{id.partition('_3')[2][:15]}{self.ids.characters(8)}"
        return self.ids.timed("evt_", second)

    def _kept(self, kind: str, id: str, version: Version) -> None:
        assert not KINDS[kind].shelf
        if self.on_version is not None:
            self.on_version(kind, id, version)
