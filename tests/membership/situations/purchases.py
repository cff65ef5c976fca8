"""Situations with one-time purchases, returned money and unclear metadata."""

from typing import Any

from tests import factories
from tests.factories import Json, event
from tests.membership.situations.life import (
    BOTH,
    Situation,
    at,
    catalogue,
    checkout,
    invoiced,
    item,
    jenny,
    line,
    one_time,
    payment_of,
    product,
    refunded,
    subscribed,
)


def basic(*extra: Json, total: int | None = None, **more: Any) -> list[Json]:
    """A month of 1,000 tokens for 20.00 that was paid 15 days ago, and these lines on the same invoice."""
    paid = line("basic", (-15, 15), id="il_1")
    return [
        jenny(),
        *catalogue("basic"),
        subscribed(item("basic", created=-15), when=-15),
        invoiced("in_1", paid, *extra, when=-15, reason="subscription_create", total=total, **more),
        *payment_of("in_1", when=-15, amount=2000 if total is None else total),
    ]


# Packs


def pack_beside_a_subscription() -> Situation:
    """200 of the first 1,000 are spent. The renewal replaces the rest of the 1,000, and keeps the pack."""
    pack = one_time("pack", id="il_2", when=-30, subscription="sub_1")
    return Situation(
        name="10 a pack on a subscription's invoice survives the renewal",
        phases=[
            [
                jenny(),
                *catalogue("basic", "pack"),
                subscribed(item("basic", created=-30), when=-30),
                invoiced("in_1", line("basic", (-30, 0), id="il_1"), pack, when=-30, reason="subscription_create"),
            ],
            200,
            [
                subscribed(item("basic", created=-30), when=0, begun=-30),
                invoiced("in_2", line("basic", (0, 30), id="il_3"), when=0),
            ],
        ],
        expected={"tokens": 1500},
    )


def pack_as_a_pending_item() -> Situation:
    pack = one_time("pack", id="il_2", when=-1, quantity=2, subscription="sub_1")
    return Situation(
        name="10 a pack on an automatic_pending_invoice_item_invoice is a pack",
        phases=[
            basic(),
            [
                *catalogue("pack"),
                invoiced("in_2", pack, when=-1, reason="automatic_pending_invoice_item_invoice"),
            ],
        ],
        expected={"tokens": 2000},
    )


def guest(*, refunded_part: int = 0) -> Situation:
    back = [refunded("cs_1", refunded_part, when=0)] if refunded_part else []
    sold = checkout(
        customer=None, client_reference_id="jenny", metadata={"product": "prod_pack", "quantity": "3"}, amount=4500
    )
    return Situation(
        name=f"11 a guest's Checkout gives its pack to the user it names, {refunded_part} of 4500 refunded",
        phases=[[*catalogue("pack"), sold, *back]],
        expected={"tokens": 1500 - refunded_part // 3, "role": "USER"},
    )


def guest_of_a_payment_link() -> Situation:
    sold = checkout(
        customer=None, client_reference_id="jenny", payment_link="plink_1", metadata={"product": "prod_pack"}
    )
    return Situation(
        name="11 the client_reference_id of a guest's payment link is not trusted",
        phases=[[*catalogue("pack"), sold]],
        expected={"tokens": 0},
    )


def no_cost(*, has_invoice: bool) -> Situation:
    free: Json = {"payment_status": "no_payment_required", "amount": 0, "payment_intent": None}
    pack = one_time("pack", id="il_1", when=-1)
    paid = invoiced("in_1", pack, when=-1, reason="manual", total=0, subscription=None, payment_intent=None)
    sold = (
        [checkout(**free, invoice="in_1"), paid]
        if has_invoice
        else [checkout(**free, metadata={"product": "prod_pack"})]
    )
    return Situation(
        name=f"12 a Checkout that costs nothing counts as paid, with an invoice: {has_invoice}",
        phases=[[jenny(), *catalogue("pack"), *sold]],
        expected={"tokens": 500},
    )


# Access bought once


def lifetime(*, by_invoice: bool, is_refunded: bool) -> Situation:
    pass_ = one_time("lifetime", id="il_1", when=-1)
    paid = invoiced("in_1", pass_, when=-1, reason="manual", subscription=None)
    bought = (
        [paid, *payment_of("in_1", when=-1, amount=30_000)]
        if by_invoice
        else [checkout(metadata={"product": "prod_lifetime"}, amount=30_000)]
    )
    back = [refunded("in_1" if by_invoice else "cs_1", 30_000)] if is_refunded else []
    return Situation(
        name=f"13 a lifetime purchase gives the role, by invoice: {by_invoice}, refunded: {is_refunded}",
        phases=[[jenny(), *catalogue("lifetime"), *bought, *back]],
        expected={
            "role": "USER" if is_refunded else "PREMIUM",
            "stripe_product_id": None if is_refunded else "prod_lifetime",
        },
    )


def access_for_a_month(bought: float) -> Situation:
    is_live = bought > -30
    return Situation(
        name=f"13 access for 30 days that was bought on day {bought}",
        phases=[
            [
                jenny(),
                *catalogue("month_pass"),
                checkout(metadata={"product": "prod_month_pass"}, when=bought, amount=3000),
            ]
        ],
        expected={"role": "PREMIUM" if is_live else "USER", "next_change": bought + 30 if is_live else None},
    )


def lifetime_beside_an_ended_subscription() -> Situation:
    ended = subscribed(item("basic", created=-15), when=0, begun=-15, period=(-15, 15), status="canceled")
    return Situation(
        name="13 a lifetime purchase gives the role after a subscription has ended",
        phases=[[*basic(), ended, *catalogue("lifetime"), checkout(metadata={"product": "prod_lifetime"})]],
        expected={"role": "PREMIUM", "membership_status": "CANCELED", "tokens": 1000},
    )


# Money back


def refund_inside_a_charge(*amounts: int) -> Situation:
    """An endpoint with an API version of 2020 gets no `refund.*` events. Each event of the charge shows all refunds so far."""
    shown = [
        factories.refund(f"re_{n}", amount=amount, charge="ch_in_1", payment_intent="pi_in_1", created=at(-5 + n))
        for n, amount in enumerate(amounts)
    ]
    events = [
        event(
            "charge.refunded",
            factories.charge(
                "ch_in_1",
                payment_intent="pi_in_1",
                created=at(-15),
                amount_refunded=sum(amounts[: n + 1]),
                refunds=factories.listing(shown[: n + 1][::-1], url="/v1/charges/ch_in_1/refunds"),
            ),
            created=at(-5 + n),
            api_version="2020-08-27",
        )
        for n in range(len(amounts))
    ]
    return Situation(
        name=f"22 refunds of {amounts} that only the charge reports take their share",
        phases=[[*basic(), *events]],
        expected={"tokens": 1000 - sum(amounts) // 2},
    )


def refund_reported_twice() -> Situation:
    """Both the charge and the refund itself report the same 10.00."""
    (charge,) = refund_inside_a_charge(1000).phases[0][-1:]  # type: ignore[index]
    same = factories.refund("re_0", amount=1000, charge="ch_in_1", payment_intent="pi_in_1", created=at(-5))
    return Situation(
        name="22 a refund reported by the charge and by its own event is taken once",
        phases=[[*basic(), charge, event("refund.created", same, created=at(-5))]],
        expected={"tokens": 500},
    )


def refund_of_an_invoice_paid_by_credit() -> Situation:
    """The card paid 2.00 of 20.00. All 2.00 go back, a tenth of the invoice."""
    paid = [
        made
        for made in basic(amount_paid=200, amount_due=200, starting_balance=-1800, ending_balance=0)
        if made["type"].startswith(("customer", "product", "price", "invoice"))
    ]
    return Situation(
        name="23 a refund counts in proportion to the whole invoice",
        phases=[[*paid, *payment_of("in_1", when=-15, amount=200)[1:], refunded("in_1", 200)]],
        expected={"tokens": 900},
    )


def _note(
    amount: int, *, status: str = "issued", when: float = -2, created: float = -2, id: str = "cn_1", **more: Any
) -> Json:
    made: Json = {
        "id": id,
        "object": "credit_note",
        "amount": amount,
        "total": amount,
        "subtotal": amount,
        "created": at(created),
        "currency": "usd",
        "customer": "cus_jenny",
        "customer_balance_transaction": "cbtxn_1",
        "invoice": "in_1",
        "livemode": False,
        "metadata": {},
        "number": "DEMO42-0001-CN-01",
        "out_of_band_amount": None,
        "post_payment_amount": amount,
        "pre_payment_amount": 0,
        "refunds": [],
        "status": status,
        "type": "post_payment",
        "voided_at": at(when) if status == "void" else None,
    }
    type_ = "credit_note.voided" if status == "void" else "credit_note.created"
    return event(type_, made | more, created=at(when))


def credit_note(*, is_voided: bool) -> Situation:
    void = [_note(500, status="void", when=-1)] if is_voided else []
    return Situation(
        name=f"24 a credit note to the balance takes its share, voided: {is_voided}",
        phases=[basic(), [_note(500)], void],
        expected={"tokens": 1000 if is_voided else 750},
    )


def credit_note_with_a_refund() -> Situation:
    part = {"amount_refunded": 500, "refund": "re_1", "type": "refund"}
    return Situation(
        name="24 a credit note and the refund that it made are taken once",
        phases=[[*basic(), _note(500, refunds=[part]), refunded("in_1", 500, when=-2)]],
        expected={"tokens": 750},
    )


def credit_note_before_payment() -> Situation:
    return Situation(
        name="24 a credit note before the payment takes nothing",
        phases=[[*basic(), _note(500, post_payment_amount=0, pre_payment_amount=500, type="pre_payment")]],
        expected={"tokens": 1000},
    )


def everything_goes_back_twice() -> Situation:
    """A refund of 15.00 and a credit note of 10.00 on an invoice of 20.00 together take all of its tokens, and no more."""
    return Situation(
        name="money back from several objects takes no more than was granted",
        phases=[[*basic(), refunded("in_1", 1500, when=-3), _note(1000)]],
        expected={"tokens": 0},
    )


def refund_of_an_upgrade(policy: str) -> Situation:
    """The upgrade gave 2,500 - 500. Half of its 40.00 is refunded, so half of the 2,000 is taken."""
    lines = [
        line("basic", (0, 15), id="il_2", amount=-1000, proration=True),
        line("pro", (0, 15), id="il_3", amount=5000, proration=True),
    ]
    return Situation(
        name=f"a refund of an upgrade takes its share of the difference, {policy}",
        phases=[
            [
                *basic(),
                *catalogue("pro"),
                subscribed(item("pro", created=-15), when=0, begun=-15, period=(-15, 15)),
                invoiced("in_2", *lines, when=0, reason="subscription_update"),
                *payment_of("in_2", when=0, amount=4000),
                refunded("in_2", 2000, when=0.01),
            ]
        ],
        expected={"tokens": 1000 + 1000},
        policy=BOTH[policy],
    )


# Unclear metadata


def role(written: str, given: str) -> Situation:
    return Situation(
        name=f"25 the role {written!r} in metadata gives {given}",
        phases=[[*basic()[:1], *basic()[2:], product("basic", role=written, tokens="1000")]],
        expected={"role": given, "tokens": 1000},
    )


def tokens(written: str, given: int) -> Situation:
    return Situation(
        name=f"26 the tokens {written!r} in metadata give {given}",
        phases=[
            [
                *(made for made in basic() if made["type"] != "product.created"),
                product("basic", tokens=written),
            ]
        ],
        expected={"role": "PREMIUM", "tokens": given},
    )


SITUATIONS = [
    pack_beside_a_subscription(),
    pack_as_a_pending_item(),
    *(guest(refunded_part=part) for part in (0, 1500)),
    guest_of_a_payment_link(),
    *(no_cost(has_invoice=has_invoice) for has_invoice in (False, True)),
    *(
        lifetime(by_invoice=by_invoice, is_refunded=is_refunded)
        for by_invoice in (False, True)
        for is_refunded in (False, True)
    ),
    *(access_for_a_month(bought) for bought in (-20, -40)),
    lifetime_beside_an_ended_subscription(),
    *(refund_inside_a_charge(*amounts) for amounts in ((1000,), (500, 1000), (2000,))),
    refund_reported_twice(),
    refund_of_an_invoice_paid_by_credit(),
    *(credit_note(is_voided=is_voided) for is_voided in (False, True)),
    credit_note_with_a_refund(),
    credit_note_before_payment(),
    everything_goes_back_twice(),
    *(refund_of_an_upgrade(policy) for policy in BOTH),
    *(
        role(written, given)
        for written, given in (
            ("free", "USER"), ("basic", "USER"), ("none", "USER"), ("Admin", "USER"), ("premium", "PREMIUM")
        )
    ),
    *(
        tokens(written, given)
        for written, given in (("5,000", 5000), ("5 000", 5000), ("5_000", 5000), ("10k", 0), ("unlimited", 0), ("-5", 0))
    ),
]  # fmt: skip
