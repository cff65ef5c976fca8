"""One API call as its handler sees it, and the table of handlers."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from sandbox.account import Account
from sandbox.api.params import Params
from sandbox.errors import StripeError
from sandbox.shapes import Shape
from sandbox.store import Record, View


@dataclass(slots=True)
class Call:
    """A request that was authenticated and is within the limits: its account, path and parameters, the shape of the answer,
    and the time whose state it reads."""

    account: Account
    view: View
    shape: Shape
    params: Params
    path: str
    ids: tuple[str, ...] = ()

    @property
    def id(self) -> str:
        """The id in the path."""
        return self.ids[0]

    def show(self, kind: str, id: str) -> dict[str, Any]:
        """An object as the caller sees it."""
        return self.shape.render(kind, self.view.get(kind, id), self.view)

    def result(self, kind: str, id: str) -> dict[str, Any]:
        """An object that the call has just changed."""
        self.view = self.account.view
        return self.show(kind, id)

    def existing(self, kind: str) -> Record:
        """The record that the path names."""
        return self.account.require(kind, self.id, status=404)


Handler = Callable[[Call], dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Route:
    """One operation. Limits and faults refer to it by its name."""

    method: str
    pattern: str
    handler: Handler
    resource: str = ""

    @property
    def operation(self) -> str:
        """For example `GET /v1/subscriptions/{id}`."""
        return f"{self.method} {self.pattern}"


@dataclass(slots=True)
class Routes:
    """All operations, found by method and path."""

    _exact: dict[tuple[str, str], Route] = field(default_factory=dict)
    _shaped: dict[tuple[str, int], list[tuple[list[str], Route]]] = field(default_factory=dict)

    def add(self, method: str, pattern: str, handler: Handler, *, resource: str = "") -> None:
        """Add an operation."""
        route = Route(method, pattern, handler, resource or pattern.split("/")[2].removesuffix("s"))
        if "{" not in pattern:
            self._exact[method, pattern] = route
            return
        steps = pattern.split("/")
        self._shaped.setdefault((method, len(steps)), []).append((steps, route))

    def find(self, method: str, path: str) -> tuple[Route, tuple[str, ...]]:
        """The operation, and the ids in the path."""
        route = self._exact.get((method, path))
        if route is not None:
            return route, ()
        steps = path.split("/")
        for pattern, route in self._shaped.get((method, len(steps)), ()):
            if all(wanted == step or wanted[:1] == "{" for wanted, step in zip(pattern, steps, strict=True)):
                return route, tuple(step for wanted, step in zip(pattern, steps, strict=True) if wanted[:1] == "{")
        raise StripeError(404, f"Unrecognized request URL ({method}: {path}).")
