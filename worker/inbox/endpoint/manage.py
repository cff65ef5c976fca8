"""Create, change and roll our webhook endpoint at Stripe, for `stripe-sync endpoint`.

Stripe has no API to roll a signing secret, so a second endpoint with the same URL takes over. It is created without
events, and turned on after `web` accepts its secret. The old endpoint is deleted after an event signed with the new secret
has been stored. Until then both endpoints deliver, and each event is stored once.
"""

import hashlib
import hmac
import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from worker.config.errors import Permanent
from worker.inbox.endpoint import both_versions, rules
from worker.inbox.endpoint.both_versions import Target
from worker.inbox.endpoint.rules import Endpoint
from worker.stripe_api.answers import API_VERSION
from worker.stripe_api.client import fingerprint

ALL = ("*",)
# Until the new endpoint is turned on, it receives only this event type, which hardly ever occurs.
QUIET, QUIET_THIN = ("test_helpers.test_clock.internal_failure",), ("v1.billing.meter.error_report_triggered",)
PROBES = 5


class NotPossible(Permanent):
    """The endpoint can't be changed this way. The message says what to do instead."""


@dataclass(frozen=True, slots=True)
class Step:
    """A step of a roll: its name, the lines to print, and the fingerprint of the new secret."""

    name: Literal["begun", "turned on", "waits", "done"]
    lines: Sequence[str]
    mark: str


def by_hand(url: str | None) -> str:
    """Instructions to create the endpoint by hand, if the key may not write webhook endpoints."""
    return (
        "By hand, in Stripe's dashboard (Developers, Webhooks, Add destination):\n"
        f"  URL          {url or 'https://YOUR-HOST' + rules.PATH}\n"
        f"  API version  {API_VERSION}\n"
        "  events       all events, of your account; with CONNECT=on another destination for connected accounts\n"
        "Then set STRIPE_WEBHOOK_SECRET to its signing secret (several, comma-separated) and restart `web`."
    )


def create(stripe: Target, url: str, *, connect: bool) -> tuple[str, str]:
    """Create an endpoint with all event types; returns its id and secret. Raises NotPossible if the URL already has one."""
    there = [each for each in _endpoints(stripe, url) if each.is_connect == connect]
    if there:
        raise NotPossible(
            f"{there[0].id} already delivers to {url}: `stripe-sync endpoint update` corrects it, and `endpoint roll` "
            "gives it a new secret or API version"
        )
    return both_versions.create(stripe, url, ALL, {"stripe_sync": "connect" if connect else "own"}, connect=connect)


def update(stripe: Target, url: str | None, *, required: Sequence[str]) -> list[str]:
    """Enable our endpoints, and give them all event types. Returns a sentence for each change.

    A destination of API v2 gets only the types that no other endpoint for the same accounts receives.
    """
    changes: list[str] = []
    mine = [each for each in _endpoints(stripe, url) if not each.is_quiet]
    covered: set[bool] = set()
    for each in sorted(mine, key=lambda each: (each.is_destination, each.thin)):
        types: Sequence[str] | None = None
        if not each.is_destination:
            types = ALL if rules.lacking([each], required) else None
        elif each.is_connect not in covered:
            alike = [other for other in mine if other.is_connect == each.is_connect]
            missing = rules.lacking(alike, required)
            types = [*sorted(each.types), *(f"v1.{type_}" if each.thin else type_ for type_ in missing)]
            types = types if missing else None
        covered.add(each.is_connect)
        if types is not None:
            both_versions.change(stripe, each, types=types)
            changes.append(f"{each.id} receives all events now")
        if not each.enabled:
            both_versions.enable(stripe, each)
            changes.append(f"{each.id} is enabled")
        if not each.thin and each.version != API_VERSION:
            changes.append(
                f"{each.id} keeps API version {each.version}: run `stripe-sync endpoint roll` to change that"
            )
    return changes


def roll(
    stripe: Target,
    url: str | None,
    *,
    secrets: Sequence[str],
    id_: str | None = None,
    signed: Callable[[str], bool],
    accepts: Callable[[str, str], bool],
    connect: bool | None = None,
) -> Step:
    """Take the next step of a roll.

    `secrets` are the secrets of STRIPE_WEBHOOK_SECRET. `signed` takes a secret's fingerprint, and returns whether an event
    signed with the secret was stored. `accepts` takes a URL and a secret, and returns whether the endpoint knows the secret.
    """
    mine = _endpoints(stripe, url)
    new = next((each for each in mine if each.metadata.get("replaces")), None)
    if new is None:
        return _begin(stripe, _chosen(mine, id_), connect)
    known = {fingerprint(secret): secret for secret in secrets}
    mark, replaced = new.metadata.get("secret", ""), new.metadata["replaces"]
    if new.is_quiet:
        if mark not in known:
            raise NotPossible(
                f"{new.id} is ready to take over. Add its secret to STRIPE_WEBHOOK_SECRET, here and for `web`, and restart "
                "`web`. Then run this again. If the secret is lost, delete the endpoint in Stripe's dashboard and start again"
            )
        if not accepts(new.url, known[mark]):
            raise NotPossible(f"`web` at {new.url} refuses the new secret: restart every web process with it first")
        kind = new.metadata.get("kind", "own")
        both_versions.change(stripe, new, types=_types_of(new, mine), metadata={"stripe_sync": kind})
        return Step("turned on", [f"{new.id} now delivers too, besides {replaced}: each event is stored once"], mark)
    if not signed(mark):
        waits = f"No event signed with the new secret has arrived yet. {replaced} still delivers. Run this again later"
        return Step("waits", [waits], mark)
    for each in mine:
        if each.id == replaced:
            both_versions.delete(stripe, each)
    both_versions.change(stripe, new, metadata=dict.fromkeys(("replaces", "secret", "kind")))
    lines = [
        f"{replaced} is deleted: no event is signed with the old secret any more",
        "Remove the old secret from STRIPE_WEBHOOK_SECRET before the next restart of `web`",
    ]
    return Step("done", lines, mark)


def accepts(url: str, secret: str) -> bool:
    """Whether all of several test requests to the endpoint reach processes that know the secret.

    The requests contain no event, so nothing is stored. Raises NotPossible if the URL does not answer like our endpoint.
    """
    for _ in range(PROBES):
        body = b"{}"
        second = int(time.time())
        mac = hmac.new(secret.encode(), f"{second}.".encode() + body, hashlib.sha256).hexdigest()
        headers = {"Content-Type": "application/json", "Stripe-Signature": f"t={second},v1={mac}"}
        request = urllib.request.Request(url, body, headers)  # noqa: S310 - an address of the operator's own
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
                code = str(answer.status)
        except urllib.error.HTTPError as error:
            code = _code(error.read())
        except OSError as error:
            raise NotPossible(
                f"{url} can't be reached from this machine ({error}): run this on a machine that can reach it"
            ) from error
        if code == "bad_signature":
            return False
        if code != "not_an_event":
            raise NotPossible(f"{url} does not answer like our webhook endpoint ({code}): see WEBHOOK_URL")
    return True


def _begin(stripe: Target, old: Endpoint, connect: bool | None) -> Step:
    is_connect = old.is_connect if connect is None else connect
    metadata = {"stripe_sync": "rolling", "replaces": old.id, "kind": "connect" if is_connect else "own"}
    if old.is_destination:
        id_, secret = both_versions.create_like(stripe, old, QUIET_THIN if old.thin else QUIET, metadata)
    else:
        id_, secret = both_versions.create(stripe, old.url, QUIET, metadata, connect=is_connect)
    mark = fingerprint(secret)
    both_versions.change(stripe, replace(old, id=id_), metadata={"secret": mark})
    lines = [
        f"{id_} will take over from {old.id}. Its secret, which Stripe shows only once:",
        secret,
        "Add it to STRIPE_WEBHOOK_SECRET, comma-separated, restart `web`, and run `stripe-sync endpoint roll` again",
    ]
    return Step("begun", lines, mark)


def _types_of(new: Endpoint, mine: Sequence[Endpoint]) -> Sequence[str]:
    """The event types of the new endpoint: all types, or for a destination, the types of the destination it replaces."""
    if not new.is_destination:
        return ALL
    replaced = next((each for each in mine if each.id == new.metadata["replaces"]), None)
    if replaced is None:
        raise NotPossible(
            f"{new.metadata['replaces']} no longer exists, so its event types are unknown: delete {new.id} in Stripe's "
            "dashboard, and run `stripe-sync endpoint create URL`"
        )
    return sorted(replaced.types)


def _chosen(mine: Sequence[Endpoint], id_: str | None) -> Endpoint:
    chosen = [each for each in mine if id_ in (None, each.id)]
    if len(chosen) == 1:
        return chosen[0]
    if not chosen:
        raise NotPossible("Stripe has no webhook endpoint of ours: run `stripe-sync endpoint create URL`")
    raise NotPossible(f"several endpoints deliver here: name one of {', '.join(each.id for each in chosen)}")


def _endpoints(stripe: Target, url: str | None) -> list[Endpoint]:
    return rules.ours(both_versions.read(stripe), url)


def _code(body: bytes) -> str:
    try:
        return str(json.loads(body).get("code"))
    except (ValueError, AttributeError):
        return "no JSON"
