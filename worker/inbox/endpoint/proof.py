"""Judge whether each webhook secret belongs to our account, by reading an event signed with the secret from Stripe.

A delivery from another platform account looks like a delivery from ours. Three facts distinguish them: the account to which
the settings bind the secret, whether our key can read the event, and the account's token, which is part of the ids of its
events.
"""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import psycopg

from worker.config.errors import Permanent
from worker.inbox import secrets
from worker.inbox.secrets import ASSUMED, FOREIGN, OURS, Secret
from worker.observe import log
from worker.stripe_api.answers import Answer, Page
from worker.stripe_api.errors import BadKey, InvalidRequest, MissingPermission, WrongMode

_log = log.get("secrets")

EXAMPLES = 3
# Stripe does not return events older than this. Events younger than the lag may be missing on the replica that answers.
OLDEST_SECONDS, LAG_SECONDS = 29 * 86_400, 8
# This part of an event's id is the account's token, which is also the end of the account's id.
TOKEN = slice(-18, -8)


class Source(Protocol):
    """The methods of `stripe_api.client.Stripe` that this module uses."""

    def page(self, path: str, params: Any = None) -> Page: ...

    def retrieve(self, path: str, *, account: str = "") -> Answer: ...


def judge_all(conn: psycopg.Connection, stripe: Callable[[], Source]) -> bool:
    """Judge every unproven secret, and apply the verdicts to held events. Returns whether events became due.

    Raises Temporary if Stripe can't be reached. Held events then wait.
    """
    released = False
    # A proven secret helps to judge the others, so unproven secrets are judged twice.
    for only in ((OURS,), (OURS, ASSUMED, FOREIGN)):
        every = secrets.known(conn)
        for secret in every:
            if secret.verdict in (OURS, FOREIGN):
                continue
            judged = _judge(conn, stripe(), secret, every)
            if judged is None or judged[0] not in only or (secret.verdict, secret.reason) == judged:
                continue
            number = secrets.judge(conn, secret.id, *judged)
            released = released or (judged[0] != FOREIGN and number > 0)
            say = _log.error if judged[0] == FOREIGN else _log.info
            say("secret.judged", secret=secret.id, verdict=judged[0], reason=judged[1], events=number)
    return secrets.release(conn) > 0 or released


def _judge(conn: psycopg.Connection, stripe: Source, secret: Secret, every: Sequence[Secret]) -> tuple[str, str] | None:
    """The verdict and the reason for it; None if the verdict can't be determined yet."""
    ours = _own_account(stripe)
    if secret.account and ours:
        if secret.account == ours:
            return OURS, "it is bound to the account of STRIPE_SECRET_KEY"
        return FOREIGN, f"it is bound to {secret.account}, and STRIPE_SECRET_KEY is the key of {ours}"
    examples = secrets.newest(conn, secret.id, limit=EXAMPLES)
    if not examples:
        return None
    missing: list[tuple[str, float]] = []
    for id_, account, age, waited in examples:
        try:
            is_known = age < OLDEST_SECONDS and not stripe.retrieve(_path(id_), account=account).missing
        except BadKey:
            raise
        except MissingPermission:
            if not account:
                return ASSUMED, "STRIPE_SECRET_KEY may not read events, so its account can't be determined"
            is_known = False  # the account is not connected to our platform
        except (InvalidRequest, WrongMode):
            is_known = False
        if is_known:
            return OURS, f"the event {id_} was read with STRIPE_SECRET_KEY"
        if age < OLDEST_SECONDS:
            missing.append((id_, waited))
    return _of_missing(stripe, ours, missing, others=[each for each in every if each.id != secret.id])


def _of_missing(
    stripe: Source, ours: str, missing: Sequence[tuple[str, float]], *, others: Sequence[Secret]
) -> tuple[str, str] | None:
    """The verdict on a secret whose events our key can't read."""
    strange = [id_ for id_, _ in missing if not _has_token(stripe, ours, id_)]
    if missing and (strange or any(each.verdict == OURS for each in others)):
        if min(waited for _, waited in missing) < LAG_SECONDS:
            return None
        return FOREIGN, f"the event {missing[0][0]} that it signed does not exist in the account of STRIPE_SECRET_KEY"
    return ASSUMED, "no event that it signed could be read with STRIPE_SECRET_KEY yet"


def _has_token(stripe: Source, ours: str, id_: str) -> bool:
    """Whether the event may be from our account, judging by the token in its id.

    True if the id can't decide, for example because the ids of our own events do not contain our token.
    """
    token = ours[-10:]
    if len(ours) < 16 or len(id_) < 24 or not id_.startswith(("evt_1", "evt_3")) or id_[TOKEN] == token:
        return True
    try:
        known = stripe.page("/v1/events", {"limit": 1}).data
    except Permanent:
        return True
    return not known or known[0]["id"][TOKEN] != token


def _own_account(stripe: Source) -> str:
    """The id of the key's account; empty if the key may not read the account."""
    try:
        return str((stripe.retrieve("/v1/account").object or {}).get("id", ""))
    except BadKey:
        raise
    except Permanent:
        return ""


def _path(id_: str) -> str:
    return f"/v2/core/events/{id_}" if id_.startswith(("evt_test_", "evt_live_")) else f"/v1/events/{id_}"
