"""Link a Stripe customer to a user. The first rule that matches decides, and a stored link is never changed
silently."""

import enum
from dataclasses import dataclass


class LinkSource(enum.StrEnum):
    """The rules, in order of precedence."""

    APPLICATION = "application"
    CUSTOMER_METADATA = "customer_metadata"
    CLIENT_REFERENCE_ID = "client_reference_id"
    SUBSCRIPTION_METADATA = "subscription_metadata"
    EMAIL = "email"


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidates:
    """The user that each rule finds for a customer without a stored link. All of these users exist.

    `by_client_reference` never comes from the session of a payment link, because there the buyer can set the value.
    `by_email` are the users who have verified the customer's e-mail address; they may have other customers.
    """

    customer: str
    by_application: str | None = None
    by_customer_metadata: str | None = None
    by_client_reference: str | None = None
    by_subscription_metadata: str | None = None
    by_email: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Link:
    customer: str
    user: str
    source: LinkSource


def choose(candidates: Candidates) -> Link | None:
    """The link to make; None if no rule matches. The customer then stays unlinked until one does."""
    email = candidates.by_email[0] if len(candidates.by_email) == 1 else None
    rules = (
        (candidates.by_application, LinkSource.APPLICATION),
        (candidates.by_customer_metadata, LinkSource.CUSTOMER_METADATA),
        (candidates.by_client_reference, LinkSource.CLIENT_REFERENCE_ID),
        (candidates.by_subscription_metadata, LinkSource.SUBSCRIPTION_METADATA),
        (email, LinkSource.EMAIL),
    )
    return next((Link(candidates.customer, user, source) for user, source in rules if user), None)
