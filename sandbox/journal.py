"""Keep the sandbox's state when it restarts: a file with one JSON line for each version and event."""

from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from sandbox.account import Account
from sandbox.delivery import Delivery, Endpoint
from sandbox.events import Event
from sandbox.ids import Ids
from sandbox.store import Version

_encode = msgspec.json.Encoder().encode


class Journal:
    """An append-only file. A line truncated by a crash is skipped when it is read."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: BinaryIO | None = None

    def load(self, account: Account, delivery: Delivery) -> None:
        """Restore everything, then begin to record."""
        if self.path.exists():
            whole = self.path.read_bytes()
            complete = whole[: whole.rfind(b"\n") + 1]
            for line in complete.splitlines():
                _replay(msgspec.json.decode(line), account, delivery)
            if len(complete) < len(whole):
                with self.path.open("r+b") as file:
                    file.truncate(len(complete))
        account.store.forget_when()
        self._file = self.path.open("ab")
        account.on_version = self._version
        delivery.on_endpoint = self._endpoint

    def event(self, event: Event) -> None:
        """Record an event."""
        self._write(["event", event])

    def commit(self, account: Account) -> None:
        """Write everything to the operating system, with the state of the clock and of the ids."""
        if self._file is not None:
            self._write(["clock", account.clock.offset, account.clock.frozen_at])
            self._write(["drawn", account.ids.drawn, account.ids.seed])
            self._file.flush()

    def clear(self) -> None:
        """Start again with an empty file; endpoints must be registered again."""
        if self._file is not None:
            self._file.truncate(0)

    def close(self) -> None:
        """Stop recording."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _version(self, kind: str, id: str, version: Version) -> None:
        body = msgspec.Raw(version.body) if version.body is not None else None
        self._write(["version", kind, id, version.number, version.at, body])

    def _endpoint(self, id: str, endpoint: Endpoint | None) -> None:
        self._write(["endpoint", id, endpoint])

    def _write(self, line: list[Any]) -> None:
        if self._file is not None:
            self._file.write(_encode(line) + b"\n")


def _replay(line: list[Any], account: Account, delivery: Delivery) -> None:
    match line:
        case ["version", kind, id, number, at, record]:
            body = _encode(record) if record is not None else None
            account.store.restore(kind, id, Version(number, at, body), record)
        case ["event", event]:
            account.log.add(msgspec.convert(event, Event))
        case ["clock", offset, frozen_at]:
            account.clock.offset, account.clock.frozen_at = offset, frozen_at
        case ["drawn", drawn, seed]:
            account.ids = Ids(seed, drawn)
        case ["endpoint", id, None]:
            delivery.endpoints.pop(id, None)
        case ["endpoint", id, endpoint]:
            delivery.endpoints[id] = msgspec.convert(endpoint, Endpoint)
