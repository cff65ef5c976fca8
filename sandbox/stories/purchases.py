"""Stories of purchases other than a plain membership."""

from typing import Any

from sandbox import catalog, checkout, customers, invoices, subscriptions
from sandbox.account import Account
from sandbox.errors import invalid
from sandbox.stories import shop
from sandbox.stories.membership import sign_up
from sandbox.stories.playing import story


@story
def trial(account: Account, *, user_id: str, price: str = "pro_monthly", days: int = 14) -> dict[str, Any]:
    """A membership begins with a trial; `renewal` ends it and bills the first period."""
    return sign_up(account, user_id=user_id, price=price, trial_days=days)


@story
def yearly(account: Account, *, user_id: str, price: str = "pro_yearly") -> dict[str, Any]:
    """A membership that is paid yearly."""
    return sign_up(account, user_id=user_id, price=price)


@story
def zero_invoice(account: Account, *, user_id: str, price: str = "pro_monthly", coupon: str = "FREE") -> dict[str, Any]:
    """A membership that a coupon of 100 % makes free forever: its invoices are paid without a charge."""
    _everything_off(account, coupon)
    return {**sign_up(account, user_id=user_id, price=price, coupon=coupon), "coupon": coupon}


@story
def token_pack(account: Account, *, user_id: str, price: str = "token_pack", quantity: int = 1) -> dict[str, Any]:
    """A user buys tokens once, through Checkout in payment mode. Expected: 500 for each pack."""
    return _buy_once(account, user_id, price, quantity)


@story
def lifetime(account: Account, *, user_id: str, price: str = "lifetime", by_invoice: bool = False) -> dict[str, Any]:
    """A user buys access once: forever (`lifetime`) or for 30 days (`month_pass`), with an invoice or without.

    Expected: no tokens, and the product's role until the time has passed or all the money was returned in any way.
    """
    return _buy_once(account, user_id, price, 1, with_invoice=by_invoice)


@story
def guest_checkout(account: Account, *, user_id: str, price: str = "token_pack", quantity: int = 1) -> dict[str, Any]:
    """A user buys something once as a guest: the session has no customer, and its client_reference_id names the user.

    Expected: 500 for each pack.
    """
    return _buy_once(account, user_id, price, quantity, guest=True)


@story
def no_cost(
    account: Account, *, user_id: str, price: str = "token_pack", quantity: int = 1, by_invoice: bool = False
) -> dict[str, Any]:
    """A coupon of 100 % makes a purchase free: `payment_status` is `no_payment_required`, with an invoice or without.

    Expected: 500 for each pack, as if it had been paid.
    """
    coupon = _everything_off(account)
    return _buy_once(account, user_id, price, quantity, coupon=coupon, with_invoice=by_invoice)


@story
def complete_checkout(account: Account, *, session: str, email: str | None = None) -> dict[str, Any]:
    """The buyer pays for a Checkout session that was opened through the API."""
    return _complete(account, session, email)


def _buy_once(account: Account, user_id: str, price: str, quantity: int, **how: Any) -> dict[str, Any]:
    """Buy something in payment mode; `how` are arguments of `checkout.complete`."""
    chosen = shop.price_named(account, price)
    with account.requested(account.request_id()):
        customer = None if how.get("guest") else shop.customer_of(account, user_id)
    with account.requested(account.request_id()):
        session = checkout.open_session(
            account,
            mode="payment",
            prices=[(chosen["id"], quantity)],
            customer=customer,
            client_reference_id=user_id,
            metadata={"user_id": user_id},
            success_url="https://app.example.com/welcome",
        )
    account.clock.let_pass(20)
    return {**_complete(account, session, f"{user_id}@example.com", **how), "user_id": user_id}


def _complete(account: Account, session: str, email: str | None, **how: Any) -> dict[str, Any]:
    record = account.require("checkout.session", session, param="session")
    with account.requested(account.request_id()):
        checkout.complete(account, session, email=email or record.get("customer_email"), **how)
    done = account.get("checkout.session", session)
    made = {"checkout_session": session, "customer": done.get("customer")}
    if done.get("subscription") is not None:
        made.update(shop.made(account, done["subscription"]))
    elif done.get("invoice") is not None:
        made.update(shop.paid_by(account, done["invoice"]))
    elif done.get("payment_intent") is not None:
        intent = account.get("payment_intent", done["payment_intent"])
        made.update(payment_intent=intent["id"], charge=intent["latest_charge"])
    user_id = shop.user_of(account, done["customer"]) if done.get("customer") is not None else None
    return made if user_id is None else {**made, "user_id": user_id}


def _everything_off(account: Account, coupon: str = "FREE") -> str:
    if account.find("coupon", coupon) is None:
        with account.requested(account.request_id()):
            catalog.create_coupon(account, id=coupon, name="All of it", percent_off=100.0, duration="forever")
    return coupon


@story
def several_subscriptions(account: Account, *, user_id: str, prices: list[str] | None = None) -> dict[str, Any]:
    """A customer has several subscriptions at once."""
    made = [sign_up(account, user_id=user_id, price=price) for price in prices or ["starter_monthly", "pro_monthly"]]
    return {
        "user_id": user_id,
        "customer": made[0]["customer"],
        "subscriptions": [each["subscription"] for each in made],
        "checkout_sessions": [each["checkout_session"] for each in made],
    }


@story
def several_customers(account: Account, *, user_id: str, count: int = 2) -> dict[str, Any]:
    """Checkout made a new customer each time, so the user has several; the last one has the subscription."""
    ids = []
    for number in range(count):
        with account.requested(account.request_id()):
            made = customers.create_customer(
                account, email=f"{user_id}+{number}@example.com", metadata={"user_id": user_id}
            )
        ids.append(made["id"])
    return {**sign_up(account, user_id=user_id, customer=ids[-1]), "customers": ids}


@story
def many_items(account: Account, *, user_id: str, count: int = 12) -> dict[str, Any]:
    """A subscription with more items than its embedded list shows. Its invoice has as many lines."""
    if not 1 <= count <= 100:
        raise invalid("count: 1 to 100", "count")
    product = shop.price_named(account, "pro_monthly")["product"]
    with account.requested(account.request_id()):
        prices = [
            catalog.create_price(
                account, product=product, unit_amount=100 + number, interval="month", nickname=f"part {number}"
            )
            for number in range(count)
        ]
    with account.requested(account.request_id()):
        customer = shop.customer_of(account, user_id)
        card = customers.attach_card(account, customer)["id"]
    with account.requested(account.request_id()):
        id = subscriptions.create(
            account,
            customer=customer,
            prices=[(price["id"], 1) for price in prices],
            default_payment_method=card,
            metadata={"user_id": user_id},
        )
    return shop.made(account, id)


@story
def many_lines(account: Account, *, user_id: str, count: int = 14) -> dict[str, Any]:
    """A paid manual invoice with more lines than its embedded list shows. The lines are packs, and give no membership."""
    price = shop.price_named(account, "token_pack")
    with account.requested(account.request_id()):
        customer = shop.customer_of(account, user_id)
        card = customers.attach_card(account, customer)["id"]
    id = account.ids.timed("in_", account.now)
    now = account.now
    with account.requested(account.request_id()):
        lines = [invoices.line(account, price, 1, (now, now), means="pack") for _ in range(count)]
        invoices.draft(
            account, id=id, customer=customer, currency="usd", reason="manual", lines=lines, period=(now, now)
        )
        invoices.finalize(account, id)
        invoices.pay(account, id, card)
    return {"user_id": user_id, "customer": customer, "invoice": id}
