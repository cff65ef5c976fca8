"""Connected accounts. A request with the platform's key names one in the header `Stripe-Account`."""

from sandbox.account import Account
from sandbox.clock import Clock
from sandbox.errors import StripeError


class Connected:
    """The accounts that are connected to the platform, by id."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.accounts: dict[str, Account] = {}

    def of(self, id: str, platform: Account) -> Account:
        """The account of a request. As with Stripe, the error is the same for an unknown and for a disconnected account."""
        if id in ("", platform.ids.account()):
            return platform
        if id not in self.accounts:
            raise StripeError(
                403,
                f"The provided key does not have access to account '{id}' (or that account does not exist). Application "
                "access may have been revoked.",
                code="account_invalid",
            )
        return self.accounts[id]

    def add(self, id: str, platform: Account, *, seed: int) -> Account:
        """Connect an account. Accounts with the same seed create objects with equal ids from the same requests."""
        if platform.find("account", id) is None:
            shown = {
                "id": id,
                "object": "account",
                "created": platform.now,
                "type": "standard",
                "charges_enabled": True,
            }
            platform.create("account", {**shown, "_parent": None})
        self.accounts[id] = Account(seed=seed, clock=self._clock, connected_as=id)
        return self.accounts[id]

    def remove(self, id: str, platform: Account) -> None:
        """Disconnect an account."""
        del self.accounts[id]
        platform.delete("account", id)
