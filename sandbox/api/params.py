"""Request parameters. They are form-encoded and nested with brackets, and get their types when they are read."""

import json
from typing import Any
from urllib.parse import parse_qsl

from sandbox.errors import invalid


def decode(text: str) -> dict[str, Any]:
    """Decode a form (`a[b]=c`, `a[]=x`, `a[0][b]=x`) to nested dicts. An index is treated as a key."""
    tree: dict[str, Any] = {}
    for name, value in parse_qsl(text, keep_blank_values=True, max_num_fields=2000):
        first, _, rest = name.partition("[")
        steps = [first, *(rest.removesuffix("]").split("][") if rest else ())]
        node = tree
        for step in steps[:-1]:
            node = node.setdefault(step or str(len(node)), {})
            if not isinstance(node, dict):
                raise invalid(f"Invalid parameter: {name}", name)
        node[steps[-1] or str(len(node))] = value
    return tree


def decode_json(body: bytes) -> dict[str, Any]:
    """Decode a JSON object, the body of API v2 requests, to the same nested dicts as a form. Null becomes an empty value."""
    try:
        value = json.loads(body or b"{}")
    except ValueError:
        raise invalid("The request is not JSON.") from None
    if not isinstance(value, dict):
        raise invalid("The request is not a JSON object.")
    return {name: _as_form(each) for name, each in value.items()}


def _as_form(value: Any) -> Any:
    if isinstance(value, list):
        value = {str(number): each for number, each in enumerate(value)}
    if isinstance(value, dict):
        return {name: _as_form(each) for name, each in value.items()}
    return "" if value is None else json.dumps(value) if isinstance(value, bool | int | float) else value


class Params:
    """The parameters of a request. A handler takes those it knows, and the request is refused if others remain."""

    def __init__(self, tree: dict[str, Any], prefix: str = "") -> None:
        self._tree = dict(tree)
        self._prefix = prefix

    def __contains__(self, name: str) -> bool:
        return name in self._tree

    def refuse_rest(self) -> None:
        """Refuse the request if a parameter was not taken."""
        for name in self._tree:
            where = self._name(name)
            raise invalid(f"Received unknown parameter: {where}", where, "parameter_unknown")

    def text(self, name: str) -> str | None:
        """A string; an empty one is None."""
        value = self._tree.pop(name, None)
        if isinstance(value, dict):
            raise invalid(f"Invalid string: {value}", self._name(name))
        return value or None

    def required(self, name: str) -> str:
        """A required string."""
        value = self.text(name)
        if value is None:
            where = self._name(name)
            raise invalid(f"Missing required param: {where}.", where, "parameter_missing")
        return value

    def integer(self, name: str) -> int | None:
        """A whole number."""
        value = self.text(name)
        if value is None:
            return None
        if not value.lstrip("-").isdigit():
            raise invalid(f"Invalid integer: {value}", self._name(name), "parameter_invalid_integer")
        return int(value)

    def number(self, name: str) -> float | None:
        """A decimal number."""
        value = self.text(name)
        try:
            return float(value) if value is not None else None
        except ValueError:
            raise invalid(f"Invalid decimal: {value}", self._name(name)) from None

    def flag(self, name: str) -> bool | None:
        """`true` or `false`."""
        value = self.text(name)
        if value not in (None, "true", "false"):
            raise invalid(f"Invalid boolean: {value}", self._name(name))
        return None if value is None else value == "true"

    def choice(self, name: str, *allowed: str) -> str | None:
        """One of the allowed words."""
        value = self.text(name)
        if value is not None and value not in allowed:
            raise invalid(f"Invalid {self._name(name)}: must be one of {', '.join(allowed)}", self._name(name))
        return value

    def strings(self, name: str) -> list[str]:
        """A list of strings, or a single one."""
        value = self._tree.pop(name, None)
        if value is None:
            return []
        return [str(member) for member in value.values()] if isinstance(value, dict) else [value]

    def has_nested(self, name: str) -> bool:
        """Whether there are parameters under a name."""
        return isinstance(self._tree.get(name), dict)

    def nested(self, name: str) -> "Params | None":
        """The parameters under a name."""
        value = self._tree.pop(name, None)
        if value in (None, ""):
            return None
        if not isinstance(value, dict):
            raise invalid("Invalid object", self._name(name))
        return Params(value, self._name(name))

    def entries(self, name: str) -> "list[Params]":
        """A list of nested parameters."""
        value = self._tree.pop(name, None)
        if value in (None, ""):
            return []
        if not isinstance(value, dict) or not all(isinstance(member, dict) for member in value.values()):
            raise invalid("Invalid array", self._name(name))
        return [Params(member, f"{self._name(name)}[{index}]") for index, member in value.items()]

    def metadata(self, old: dict[str, str] | None = None) -> dict[str, str] | None:
        """The metadata after the request; None if the request has none. An empty value removes its key."""
        value = self._tree.pop("metadata", None)
        if value is None:
            return None
        if value == "":
            return {}
        merged = {**(old or {}), **value}
        return {name: str(text) for name, text in merged.items() if text != ""}

    def take(self, **readers: str) -> dict[str, Any]:
        """The named parameters that were sent, each read as `text`, `integer`, `number` or `flag`."""
        return {name: getattr(self, reader)(name) for name, reader in readers.items() if name in self._tree}

    def _name(self, name: str) -> str:
        return f"{self._prefix}[{name}]" if self._prefix else name
