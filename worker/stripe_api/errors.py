"""The errors of a request to Stripe."""

import re
from typing import Any, cast

from worker.config.errors import Permanent, Temporary

DASHBOARD = "https://dashboard.stripe.com/apikeys"


class Unreachable(Temporary):
    """Stripe can't be reached."""


class TimedOut(Unreachable):
    """Stripe did not answer in time."""


class StripeFailed(Temporary):
    """Stripe failed (5xx), or its answer is malformed."""


class Locked(Temporary):
    """Another request has locked the object at Stripe."""


class CursorGone(Temporary):
    """The object after which the next page begins was deleted in the meantime."""


class InvalidRequest(Permanent):
    """Stripe refuses the request."""


class NotFound(InvalidRequest):
    """Stripe does not have the object, as of `read_at` (by Stripe's clock, in unix seconds)."""

    @property
    def read_at(self) -> int:
        return cast(int, self.ids["read_at"])


class BadKey(Permanent):
    """STRIPE_SECRET_KEY is not set, or Stripe refuses it."""


class MissingPermission(Permanent):
    """The restricted key lacks `permission` (empty if Stripe did not name it)."""

    @property
    def permission(self) -> str:
        return str(self.ids.get("permission", ""))


class WrongMode(Permanent):
    """The key is for live mode and the object is in test mode, or the reverse."""


def missing_permission(operation: str, message: str, ids: dict[str, Any]) -> MissingPermission:
    named = re.search(r"\brak_([a-z0-9_]+)_(read|write)\b", message)
    if named is None:
        return MissingPermission(
            f"{operation}: Stripe refuses the key in STRIPE_SECRET_KEY (403). The permissions of a restricted key are set "
            f"at {DASHBOARD}; a connected account may have disconnected",
            **ids,
        )
    return MissingPermission(
        f"{operation}: the restricted key in STRIPE_SECRET_KEY lacks {named[0]}. Edit the key at {DASHBOARD} and set "
        f"'{named[1].replace('_', ' ')}' to {named[2]}; it works at once, without a restart",
        permission=named[0],
        **ids,
    )
