"""Every object with all its versions, in the order of lists.

A version is the JSON of its record, which is small because a record leaves out what all objects of its kind share.
Versions are numbered across all objects, so a `View` at a number shows the whole account as it was.
"""

import time
from bisect import bisect_left, bisect_right, insort
from typing import Any

import msgspec

from sandbox.kinds import KINDS, Kind

Record = dict[str, Any]
Key = tuple[int, int, str]
"""The position of an object in its list: its second of creation, its number among its kind, its id."""

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


class Version(msgspec.Struct, frozen=True, gc=False):
    """One version of an object. If `body` is None, the object is deleted. `at` is the sandbox's time of the change."""

    number: int
    at: int
    body: bytes | None

    def record(self) -> Record:
        """A fresh copy of the record."""
        assert self.body is not None
        record: Record = _decode(self.body)
        return record


class _Entry(msgspec.Struct):
    key: Key
    versions: list[Version]
    values: tuple[Any, ...]

    def at(self, number: int) -> Version | None:
        if self.versions[-1].number <= number:
            return self.versions[-1]
        index = bisect_right(self.versions, number, key=lambda version: version.number)
        return self.versions[index - 1] if index else None


class Shelf:
    """All objects of one kind, ordered by creation, with an index for each owner."""

    def __init__(self, kind: Kind) -> None:
        self.kind = kind
        self.entries: dict[str, _Entry] = {}
        self.order: list[Key] = []
        self.alive = 0
        self._owned: dict[tuple[str, Any], list[Key]] = {}
        self._count = 0

    def owned(self, owner: str, value: Any) -> list[Key]:
        """The keys of an owner's objects, in the order of the list."""
        return self._owned.get((owner, value), [])

    def history(self, id: str) -> list[Version]:
        """All versions of one object, oldest first."""
        entry = self.entries.get(id)
        return list(entry.versions) if entry is not None else []

    def deleted(self) -> list[str]:
        """The ids of deleted objects."""
        return [id for id, entry in self.entries.items() if entry.versions[-1].body is None]

    def place_after(self, id: str) -> int:
        """The position that follows an object's position in the order."""
        return bisect_right(self.order, self.entries[id].key)

    def add(self, id: str, version: Version, record: Record | None) -> None:
        """Add a version, and the object to the order and the indexes that lists use."""
        entry = self.entries.get(id)
        if entry is not None and record is not None and entry.versions[-1].body is None:
            self._forget_place(entry)  # An id that is used again after a deletion gets the position of a new object.
            entry.key = self._place(id, record)
        if entry is None:
            assert record is not None
            entry = _Entry(key=self._place(id, record), versions=[], values=())
            self.entries[id] = entry
        before = entry.versions[-1].body is not None if entry.versions else False
        entry.versions.append(version)
        self.alive += (record is not None) - before
        if record is not None:
            values = values_of(self.kind, record)
            self._move(entry, values)
            entry.values = values

    def _place(self, id: str, record: Record) -> Key:
        self._count += 1
        key = (int(record.get("created", 0)), self._count, id)
        if not self.order or key > self.order[-1]:
            self.order.append(key)
        else:
            insort(self.order, key)
        return key

    def _forget_place(self, entry: _Entry) -> None:
        del self.order[bisect_left(self.order, entry.key)]
        self._move(entry, tuple(() for _ in entry.values))
        entry.values = ()

    def _move(self, entry: _Entry, values: tuple[Any, ...]) -> None:
        for index, (owner, _) in enumerate(self.kind.owners):
            old = entry.values[index] if entry.values else ()
            if old == values[index]:
                continue
            for value in _each(old):
                keys = self._owned[owner, value]
                del keys[bisect_left(keys, entry.key)]
            for value in _each(values[index]):
                keys = self._owned.setdefault((owner, value), [])
                if not keys or entry.key > keys[-1]:
                    keys.append(entry.key)
                else:
                    insort(keys, entry.key)


class Store:
    """The shelves, and the number of the newest version."""

    def __init__(self) -> None:
        self.number = 0
        self.shelves: dict[str, Shelf] = {name: Shelf(kind) for name, kind in KINDS.items() if not kind.shelf}
        self._marks: list[tuple[float, int]] = []

    def put(self, kind: str, record: Record, at: int) -> Version:
        """Store a record as the newest version of its object."""
        return self.restore(kind, record["id"], Version(self.number + 1, at, _encode(record)), record)

    def delete(self, kind: str, id: str, at: int) -> Version:
        """Mark an object as deleted from now on."""
        return self.restore(kind, id, Version(self.number + 1, at, None), None)

    def restore(self, kind: str, id: str, version: Version, record: Record | None) -> Version:
        """Restore a version from a journal."""
        self.number = version.number
        self.shelves[kind].add(id, version, record)
        now = time.monotonic()
        if self._marks and now - self._marks[-1][0] < 0.01:
            self._marks[-1] = (self._marks[-1][0], self.number)
        else:
            self._marks.append((now, self.number))
        return version

    def view(self, number: int | None = None) -> "View":
        """The account as it is, or as it was at a number."""
        return View(self, self.number if number is None else number)

    def forget_when(self) -> None:
        """Make all present versions older than any time that `number_before` may look for."""
        self._marks = [(float("-inf"), self.number)]

    def number_before(self, seconds: float) -> int:
        """The number of the version that was newest `seconds` ago, in real time."""
        index = bisect_right(self._marks, time.monotonic() - seconds, key=lambda mark: mark[0])
        return self._marks[index - 1][1] if index else 0


class View:
    """The account as it was at one number."""

    def __init__(self, store: Store, number: int) -> None:
        self.store = store
        self.number = number

    def version(self, kind: str, id: str) -> Version | None:
        """The object's version at that number; None if it did not exist yet."""
        entry = self.store.shelves[KINDS[kind].kept_as].entries.get(id)
        return entry.at(self.number) if entry is not None else None

    def find(self, kind: str, id: str | None) -> Record | None:
        """A copy of a record; None if the object did not exist, or was deleted."""
        version = self.version(kind, id) if id else None
        return version.record() if version is not None and version.body is not None else None

    def get(self, kind: str, id: str) -> Record:
        """A copy of a record that must exist. If the object is deleted, its last version."""
        entry = self.store.shelves[KINDS[kind].kept_as].entries[id]
        version = next(v for v in reversed(entry.versions) if v.number <= self.number and v.body is not None)
        return version.record()

    def owned(self, kind: str, owner: str, value: str) -> list[Record]:
        """The records that belong to an owner, oldest first."""
        keys = self.store.shelves[kind].owned(owner, value)
        return [record for _, _, id in keys if (record := self.find(kind, id)) is not None]


def values_of(kind: Kind, record: Record) -> tuple[Any, ...]:
    """The values of a record that its kind's filters compare."""
    return tuple(_read(record, field.split(".")) for _, field in kind.filters)


def _read(value: Any, path: list[str]) -> Any:
    for index, step in enumerate(path):
        if step == "*":
            return tuple(dict.fromkeys(_read(member, path[index + 1 :]) for member in value))
        value = value.get(step) if isinstance(value, dict) else None
    return value


def _each(value: Any) -> tuple[Any, ...]:
    if isinstance(value, tuple):
        return value
    return () if value is None else (value,)
