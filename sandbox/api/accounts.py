"""Connected accounts: each is an account of its own, that the platform's key reads with the header `Stripe-Account`."""

from typing import Any

from sandbox.account import Account
from sandbox.api import lists
from sandbox.api.call import Call, Handler, Routes
from sandbox.clock import Clock
from sandbox.errors import StripeError, missing


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

    def add(self, id: str, *, seed: int) -> Account:
        """Connect an account. Those of one seed have objects of equal ids, if the same is done in them."""
        self.accounts[id] = Account(seed=seed, clock=self._clock, connected_as=id)
        return self.accounts[id]

    def shown(self, id: str) -> dict[str, Any]:
        """The account as the API shows it."""
        return {"id": id, "object": "account", "created": 1_700_000_000, "type": "standard", "charges_enabled": True}


def add_to(routes: Routes, connected: Connected) -> None:
    """Take the operations in."""
    routes.add("GET", "/v1/accounts", _listing(connected), resource="connected_account")
    routes.add("GET", "/v1/accounts/{id}", _retrieving(connected), resource="connected_account")


def _listing(connected: Connected) -> Handler:
    def listing(call: Call) -> dict[str, Any]:
        cursor = lists.read_cursor(call.params)
        call.params.refuse_rest()
        shown = [connected.shown(id) for id in reversed(connected.accounts)]
        data, has_more = lists.of_members(shown, cursor, "account")
        return lists.answer(call.path, data, has_more)

    return listing


def _retrieving(connected: Connected) -> Handler:
    def retrieve(call: Call) -> dict[str, Any]:
        call.params.refuse_rest()
        if call.id not in connected.accounts:
            raise missing("account", call.id)
        return connected.shown(call.id)

    return retrieve
