"""Calls about changes, signed in the format of Standard Webhooks."""

from collections.abc import Mapping, Sequence

from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from stripe_sync_client.types import Change, change_of


class InvalidSignature(Exception):
    """The call is not signed with the secret, or is too old: answer 400."""


def verify_change(body: bytes | str, headers: Mapping[str, str], *, secret: str | Sequence[str]) -> Change:
    """Return the change in a call to CHANGES_URL.

    `body` is the raw body, and `headers` are the request's headers, in upper or lower case. `secret` is CHANGES_SECRET: one
    secret, several, or several separated by commas. Raises InvalidSignature.
    """
    lower = {name.lower(): value for name, value in headers.items()}
    secrets = secret.split(",") if isinstance(secret, str) else secret
    for each in secrets:
        try:
            verified = Webhook(each.strip()).verify(body, lower)
        except WebhookVerificationError:
            continue
        return change_of(verified, id=int(lower["webhook-id"]), user_id=verified["data"]["user_id"])
    raise InvalidSignature("no secret matches the signature, or the call is too old")
