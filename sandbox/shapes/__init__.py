"""The shapes of the API: render a record as the requested API version shows it."""

from typing import Any

from sandbox.errors import invalid
from sandbox.kinds import KINDS
from sandbox.shapes import ancient, endive, legacy, plain
from sandbox.store import Record, View

CURRENT = "2026-10-28.endive"
LEGACY = "2024-06-20"
_BIG_BREAK = "2025-03-31"


class Shape:
    """The shape of one API version: the newest shape, or the shape of 2024-06-20. Versions before 2022-11-15 have the latter
    with the older traits of `sandbox.shapes.ancient`."""

    def __init__(self, version: str, *, is_legacy: bool) -> None:
        self.version = version
        self.is_legacy = is_legacy

    def render(self, kind: str, record: Record, view: View) -> dict[str, Any]:
        """Return an object as this version shows it."""
        if KINDS[kind].plain:
            return plain.render(kind, record, view)
        if not self.is_legacy:
            return endive.render(kind, record, view)
        return ancient.age(legacy.render(kind, record, view), self.version, record, view)

    def item(self, item: Record, subscription: str, view: View) -> dict[str, Any]:
        """An item of a subscription, by itself."""
        shown = legacy.subscription_item if self.is_legacy else endive.subscription_item
        return shown(item, subscription, view)

    def line(self, line: Record, invoice: Record, view: View) -> dict[str, Any]:
        """Return a line of an invoice by itself."""
        if not self.is_legacy:
            return endive.line(line, invoice)
        return ancient.age_line(legacy.line(line, invoice, view), self.version)


def shape_of(version: str | None) -> Shape:
    """The shape of a version. From 2025-03-31 on it is the newest shape, before that the shape of 2024-06-20."""
    if version is None:
        return Shape(CURRENT, is_legacy=False)
    date = version.partition(".")[0]
    parts = date.split("-")
    if [len(part) for part in parts] != [4, 2, 2] or not all(part.isdigit() for part in parts):
        raise invalid(f"Invalid Stripe API version: {version}")
    return Shape(version, is_legacy=date < _BIG_BREAK)
