"""Play stories: find one by name, pass its parameters, and return everything it made."""

import inspect
from collections.abc import Callable
from typing import Any

import msgspec

from sandbox.account import Account
from sandbox.errors import invalid
from sandbox.stories import expected

Story = Callable[..., dict[str, Any]]
STORIES: dict[str, Story] = {}


def story(function: Story) -> Story:
    """Register a function as a story, under its own name."""
    STORIES[function.__name__] = function
    return function


def play(account: Account, name: str, params: dict[str, Any]) -> dict[str, Any]:
    """Play a story; returns the ids it made, its events, and the expected state of its user."""
    if name not in STORIES:
        raise invalid(f"No such story: {name}. There are: {', '.join(STORIES)}", "story")
    arguments = _arguments(name, params)
    known = len(account.log.by_thin_id)
    user_id = arguments.get("user_id")
    granted = set(expected.grants(account, user_id)) if user_id is not None else set()
    result = STORIES[name](account, **arguments)
    user_id = result.get("user_id", user_id)
    events = list(account.log.by_thin_id.values())[known:]
    answer = {
        "story": name,
        "ids": result,
        "events": [
            {"id": event.id, "type": event.type, "created": event.second, "object": event.object_id}
            for event in events
            if not event.thin_only
        ],
    }
    if user_id is not None:
        answer["expected"] = expected.of_user(account, user_id, granted_before=granted)
    if "organization_id" in result:
        answer["members"] = expected.of_members(account, result["organization_id"])
    return answer


def describe(name: str) -> dict[str, Any]:
    """A story's description, and its parameters with their defaults."""
    signature = inspect.signature(STORIES[name])
    params = {
        param.name: "required" if param.default is param.empty else param.default
        for param in list(signature.parameters.values())[1:]
    }
    return {"story": name, "about": inspect.getdoc(STORIES[name]), "params": params}


def _arguments(name: str, params: dict[str, Any]) -> dict[str, Any]:
    signature = inspect.signature(STORIES[name])
    arguments = {}
    for param in list(signature.parameters.values())[1:]:
        if param.name in params:
            try:
                arguments[param.name] = msgspec.convert(params[param.name], param.annotation)
            except msgspec.ValidationError as error:
                raise invalid(f"{param.name}: {error}", param.name) from error
        elif param.default is param.empty:
            raise invalid(f"Missing required param: {param.name}.", param.name, "parameter_missing")
    unknown = set(params) - set(signature.parameters)
    if unknown:
        raise invalid(f"{name} has no parameter {', '.join(sorted(unknown))}; see GET /_sandbox", sorted(unknown)[0])
    return arguments
