"""Stories in which a customer pays for an organization, which is named in the subscription's metadata."""

from typing import Any

from sandbox.account import Account
from sandbox.stories import membership, shop
from sandbox.stories.playing import story


@story
def team(
    account: Account, *, user_id: str, organization_id: str, price: str = "pro_monthly", quantity: int = 5
) -> dict[str, Any]:
    """A user subscribes for an organization. The user is named in the customer's metadata."""
    made = membership.sign_up(account, user_id=user_id, price=price, quantity=quantity, organization_id=organization_id)
    return {**made, "organization_id": organization_id}


@story
def assign(
    account: Account, *, organization_id: str = "", user_id: str | None = None, subscription: str | None = None
) -> dict[str, Any]:
    """A subscription names another organization from now on, or none."""
    record = shop.live_subscription(account, user_id, subscription)
    others = {key: value for key, value in record.get("metadata", {}).items() if key != "organization_id"}
    named = {"organization_id": organization_id} if organization_id else {}
    with account.requested(account.request_id()):
        account.update("customer.subscription.updated", "subscription", record["id"], metadata={**others, **named})
    return {**shop.made(account, record["id"]), **named}
