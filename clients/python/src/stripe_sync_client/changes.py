"""Verify requests to CHANGES_URL, which stripe-sync sends when a user's access changes and signs as a Standard Webhook."""

from collections.abc import Mapping, Sequence

from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from stripe_sync_client.types import Change, change_of


class InvalidSignature(Exception):
    """The request is not signed with the secret, or it is too old. Answer it with status 400."""


def verify_change(body: bytes | str, headers: Mapping[str, str], *, secret: str | Sequence[str]) -> Change:
    """Return the change in a request to CHANGES_URL.

    `body` is the raw body, and `headers` are the request's headers, in upper or lower case. `secret` is CHANGES_SECRET: one
    secret, a sequence of secrets, or several secrets separated by commas. Raises InvalidSignature.
    """
    lower = {name.lower(): value for name, value in headers.items()}
    secrets = secret.split(",") if isinstance(secret, str) else secret
    for each in secrets:
        try:
            verified = Webhook(each.strip()).verify(body, lower)
        except WebhookVerificationError:
            continue
        return change_of(verified, id=int(lower["webhook-id"]), user_id=verified["data"]["user_id"])
    raise InvalidSignature("no secret matches the signature, or the request is too old")
