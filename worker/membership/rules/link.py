"""Link a Stripe customer to a user: the first rule that matches wins, and a link is never silently changed."""

import enum
from dataclasses import dataclass


class LinkSource(enum.StrEnum):
    """The rules, in their order."""

    APPLICATION = "application"
    CUSTOMER_METADATA = "customer_metadata"
    CLIENT_REFERENCE_ID = "client_reference_id"
    SUBSCRIPTION_METADATA = "subscription_metadata"
    EMAIL = "email"


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidates:
    """The existing users that each rule names for a customer without a stored link.

    `by_client_reference` never comes from the session of a payment link, because there the buyer writes it. `by_email`
    are the users with that verified address; they may have other customers.
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
    """The link to make, or None: then the customer stays unlinked until a user appears."""
    email = candidates.by_email[0] if len(candidates.by_email) == 1 else None
    rules = (
        (candidates.by_application, LinkSource.APPLICATION),
        (candidates.by_customer_metadata, LinkSource.CUSTOMER_METADATA),
        (candidates.by_client_reference, LinkSource.CLIENT_REFERENCE_ID),
        (candidates.by_subscription_metadata, LinkSource.SUBSCRIPTION_METADATA),
        (email, LinkSource.EMAIL),
    )
    return next((Link(candidates.customer, user, source) for user, source in rules if user), None)
