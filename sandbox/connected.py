"""Connected accounts: each is an account of its own, that the platform's key reads with the header `Stripe-Account`."""

from sandbox.account import Account
from sandbox.clock import Clock
from sandbox.errors import StripeError


class Connected:
    """The accounts that are connected to the platform, by id."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.accounts: dict[str, Account] = {}

    def of(self, id: str, platform: Account) -> Account:
        """The account that a request is for. Stripe tells an account that does not exist from none that withdrew."""
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
        """Connect an account. Those of one seed have objects of equal ids, if the same is done in them."""
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
        """The account has withdrawn."""
        del self.accounts[id]
        platform.delete("account", id)
