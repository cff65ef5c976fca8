"""Stories about invoices, with numbers computed by hand. Starter gives 1,000 tokens for 9.00, and Pro 5,000 for 29.00.

The month that begins at THEN is September 2026. It has 30 days, so half a month is 15 days.
"""

from typing import Any

import pytest

from tests.sandbox.conftest import Sandbox

THEN = 1_788_220_800  # 2026-09-01 00:00 UTC
DAY = 24 * 3600


@pytest.fixture(autouse=True)
def _september(sandbox: Sandbox) -> None:
    sandbox.control("clock", now=THEN - 20, frozen=True)  # A sign-up takes 20 seconds.


def later(sandbox: Sandbox, days: int) -> None:
    """Set the clock to this many days after the beginning of September."""
    sandbox.control("clock", now=THEN + days * DAY, frozen=True)


def tokens(story: dict[str, Any]) -> list[int]:
    """Return the tokens of a story's grants, in the order of the lines."""
    return [grant["tokens"] for grant in story["expected"]["grants"]]


def invoice(sandbox: Sandbox, story: dict[str, Any], version: str = "2026-10-28.endive") -> dict[str, Any]:
    shown: dict[str, Any] = sandbox.api("GET", f"/v1/invoices/{story['ids']['invoice']}", Stripe_Version=version)[2]
    return shown


def lines(sandbox: Sandbox, story: dict[str, Any]) -> list[tuple[int, bool]]:
    """Return the amount and the proration flag of each line of a story's invoice."""
    shown = invoice(sandbox, story, "2024-06-20")["lines"]["data"]
    return [(line["amount"], line["proration"]) for line in shown]


def test_a_switch_to_a_year_bills_the_whole_year_and_grants_the_allowance(sandbox: Sandbox) -> None:
    sandbox.story("sign_up", user_id="ada", price="starter_monthly")
    later(sandbox, 15)

    switched = sandbox.story("switch_interval", user_id="ada", price="starter_yearly")

    assert invoice(sandbox, switched)["billing_reason"] == "subscription_update"
    assert lines(sandbox, switched) == [(-450, True), (9000, False)]
    assert tokens(switched) == [-500, 1000]


def test_a_switch_to_a_month_starts_a_month_and_credits_the_rest_to_the_balance(sandbox: Sandbox) -> None:
    sandbox.story("sign_up", user_id="ada", price="starter_yearly")
    later(sandbox, 73)  # a fifth of a year of 365 days

    switched = sandbox.story("switch_interval", user_id="ada", price="starter_monthly")

    assert lines(sandbox, switched) == [(-7200, True), (900, False)]
    # Day 73 is day 13 of the third 30-day period. Of that period 17 days are left: 1,000 x 17 / 30 = 566.7.
    assert tokens(switched) == [-566, 1000]
    assert sandbox.api("GET", f"/v1/customers/{switched['ids']['customer']}")[2]["balance"] == -6300


def test_a_credit_names_the_line_that_it_credits(sandbox: Sandbox) -> None:
    begun = sandbox.story("free_plan", user_id="ada")
    later(sandbox, 15)

    paid = sandbox.story("upgrade", user_id="ada", price="starter_monthly")

    first = invoice(sandbox, begun)
    credit, period = (
        line["parent"]["subscription_item_details"]["proration_details"]["credited_items"]
        for line in invoice(sandbox, paid)["lines"]["data"]
    )
    assert credit == {"invoice": first["id"], "invoice_line_items": [first["lines"]["data"][0]["id"]]}
    assert period is None


@pytest.mark.parametrize("proration", ["always_invoice", "create_prorations", "none"])
def test_an_upgrade_is_prorated_once_it_is_paid(sandbox: Sandbox, proration: str) -> None:
    sandbox.story("sign_up", user_id="ada", price="starter_monthly")
    later(sandbox, 15)

    upgraded = sandbox.story("upgrade", user_id="ada", price="pro_monthly", proration=proration)
    renewed = sandbox.story("renewal", user_id="ada")

    change = [-500, 2500]
    assert tokens(upgraded) == (change if proration == "always_invoice" else [])
    assert tokens(renewed) == ([*change, 5000] if proration == "create_prorations" else [5000])


def test_an_unpaid_upgrade_grants_nothing(sandbox: Sandbox) -> None:
    sandbox.story("sign_up", user_id="ada", price="starter_monthly")
    later(sandbox, 15)

    refused = sandbox.story("upgrade", user_id="ada", price="pro_monthly", payment="fails")
    paid = sandbox.story("recovery", user_id="ada")

    assert (tokens(refused), tokens(paid)) == ([], [-500, 2500])


def test_seats_are_prorated_by_time_and_number(sandbox: Sandbox) -> None:
    sandbox.story("sign_up", user_id="ada", price="starter_monthly")
    later(sandbox, 15)

    more = sandbox.story("seats", user_id="ada", quantity=5)
    later(sandbox, 15)
    fewer = sandbox.story("seats", user_id="ada", quantity=0)

    assert tokens(more) == [-500, 2500]
    assert tokens(fewer) == [-2500]


def test_a_change_of_a_yearly_plan_counts_for_the_current_thirty_days(sandbox: Sandbox) -> None:
    sandbox.story("sign_up", user_id="ada", price="starter_yearly")
    later(sandbox, 73)

    upgraded = sandbox.story("upgrade", user_id="ada", price="pro_yearly")
    added = sandbox.story("addon", user_id="ada", price="extra_yearly")

    # Four fifths of the year are left, and 17 days of the allowance's 30: 5,000 x 17 / 30 = 2,833.3.
    assert lines(sandbox, upgraded) == [(-7200, True), (23200, True)]
    assert tokens(upgraded) == [-566, 2833]
    # A new item has a separate allowance, which begins now and is granted in full.
    assert (lines(sandbox, added), tokens(added)) == ([(2400, True)], [100])


def test_an_addon_begins_with_a_share_of_its_allowance_and_renews_with_the_plan(sandbox: Sandbox) -> None:
    sandbox.story("sign_up", user_id="ada", price="starter_monthly")
    later(sandbox, 15)

    added = sandbox.story("addon", user_id="ada", price="extra_monthly")
    renewed = sandbox.story("renewal", user_id="ada")
    later(sandbox, 30)
    dropped = sandbox.story("drop_addon", user_id="ada")

    assert (tokens(added), tokens(renewed), tokens(dropped)) == ([50], [1000, 100], [-100])


def test_items_with_different_intervals_renew_separately(sandbox: Sandbox) -> None:
    begun = sandbox.story("sign_up", user_id="ada", price="pro_yearly", extras=["extra_monthly"])

    renewed = sandbox.story("renewal", user_id="ada")

    assert (tokens(begun), tokens(renewed)) == ([5000, 100], [100])
    items = sandbox.api("GET", f"/v1/subscriptions/{begun['ids']['subscription']}")[2]["items"]["data"]
    assert [item["current_period_start"] for item in items] == [THEN, THEN + 30 * DAY]


def test_replacing_an_item_credits_its_unused_time(sandbox: Sandbox) -> None:
    begun = sandbox.story("sign_up", user_id="ada", price="starter_monthly")
    later(sandbox, 15)

    swapped = sandbox.story("addon", user_id="ada", price="pro_monthly", replaces=begun["ids"]["subscription_item"])

    assert swapped["ids"]["addon"] != begun["ids"]["subscription_item"]
    assert tokens(swapped) == [2500, -500]


@pytest.mark.parametrize("reason", ["subscription_update", "subscription_cycle"])
def test_a_trial_that_ends_early_grants_once_it_is_paid(sandbox: Sandbox, reason: str) -> None:
    sandbox.story("trial", user_id="ada", price="starter_monthly")
    later(sandbox, 5)

    refused = sandbox.story("trial_end_now", user_id="ada", payment="fails", reason=reason)
    paid = sandbox.story("recovery", user_id="ada")

    assert invoice(sandbox, refused)["billing_reason"] == reason
    subscription = sandbox.api("GET", f"/v1/subscriptions/{refused['ids']['subscription']}")[2]
    assert subscription["trial_end"] == THEN + 5 * DAY
    assert refused["expected"]["membership_status"] == "PAST_DUE"
    assert (tokens(refused), tokens(paid)) == ([], [1000])


def test_a_trial_with_a_paid_setup_fee_grants_nothing(sandbox: Sandbox) -> None:
    begun = sandbox.story("setup_fee", user_id="ada")
    renewed = sandbox.story("renewal", user_id="ada")

    assert lines(sandbox, begun) == [(0, False), (1500, False)]
    assert invoice(sandbox, begun)["amount_paid"] == 1500
    assert (tokens(begun), tokens(renewed)) == ([], [5000])


@pytest.mark.parametrize("flagged", [True, False])
def test_a_shortened_first_period_grants_its_share(sandbox: Sandbox, flagged: bool) -> None:
    begun = sandbox.story("stub", user_id="ada", price="starter_monthly", days=20, flagged=flagged)
    renewed = sandbox.story("renewal", user_id="ada")

    # The month before 2026-09-21 has 31 days: 1,000 x 20 / 31 = 645.16, 900 x 20 / 31 = 580.6.
    assert lines(sandbox, begun) == [(581, flagged)]
    assert (tokens(begun), tokens(renewed)) == ([645], [1000])


@pytest.mark.parametrize("flagged", [True, False])
def test_switching_from_a_free_to_a_paid_plan_starts_a_period(sandbox: Sandbox, flagged: bool) -> None:
    free = sandbox.story("free_plan", user_id="ada")
    later(sandbox, 15)

    paid = sandbox.story("upgrade", user_id="ada", price="starter_monthly", flagged=flagged)

    assert (free["expected"]["role"], tokens(free)) == ("USER", [50])
    assert lines(sandbox, paid) == [(0, True), (900, flagged)]
    assert (paid["expected"]["role"], tokens(paid)) == ("PREMIUM", [-25, 1000])


def test_metered_usage_grants_nothing(sandbox: Sandbox) -> None:
    sandbox.story("sign_up", user_id="ada", price="starter_monthly", extras=["metered_monthly"])

    renewed = sandbox.story("renewal", user_id="ada")

    usage = invoice(sandbox, renewed)["lines"]["data"][1]
    assert usage["quantity"] == 900
    assert tokens(renewed) == [1000]


@pytest.mark.parametrize("alone", [True, False])
def test_a_pack_is_sold_on_a_subscription(sandbox: Sandbox, alone: bool) -> None:
    sandbox.story("sign_up", user_id="ada", price="starter_monthly")

    sold = sandbox.story("add_pack", user_id="ada", alone=alone)
    renewed = sandbox.story("renewal", user_id="ada")

    assert tokens(sold) == ([500] if alone else [])
    assert tokens(renewed) == ([1000] if alone else [500, 1000])
    if alone:
        assert invoice(sandbox, sold)["billing_reason"] == "automatic_pending_invoice_item_invoice"


def test_a_refund_takes_its_share_of_the_whole_invoice(sandbox: Sandbox) -> None:
    sandbox.story("give_credit", user_id="ada", amount=2610)
    sandbox.story("sign_up", user_id="ada", price="pro_monthly")

    refunded = sandbox.story("refund", user_id="ada")

    # Only 2.90 of the 29.00 were charged, so the refund takes a tenth of the 5,000 tokens.
    assert refunded["expected"]["clawbacks"] == [{"object": refunded["ids"]["refund"], "tokens": 500}]


def test_partial_refunds_together_take_as_many_tokens_as_one_full_refund(sandbox: Sandbox) -> None:
    sandbox.story("sign_up", user_id="ada", price="pro_monthly")

    refunds = [sandbox.story("refund", user_id="ada", amount=amount) for amount in (967, 967, 966)]

    # Of 29.00: 5,000 x 9.67 / 29 = 1,667.2; x 19.34 / 29 = 3,334.5; x 29 / 29 = 5,000.
    taken = [back["tokens"] for back in refunds[-1]["expected"]["clawbacks"]]
    assert taken == [1667, 1667, 1666]


def test_a_refund_and_a_lost_dispute_take_no_more_than_was_granted(sandbox: Sandbox) -> None:
    sandbox.story("sign_up", user_id="ada", price="pro_monthly")
    sandbox.story("refund", user_id="ada", amount=1450)
    later(sandbox, 1)

    disputed = sandbox.story("dispute", user_id="ada")

    assert [back["tokens"] for back in disputed["expected"]["clawbacks"]] == [2500, 2500]


def test_a_refund_rounds_the_share_of_each_grant(sandbox: Sandbox) -> None:
    sandbox.story("sign_up", user_id="ada", price="pro_monthly", extras=["extra_monthly"])

    refunded = sandbox.story("refund", user_id="ada", amount=700)

    # 7.00 of 32.00: 5,000 x 7 / 32 = 1,093.75, and 100 x 7 / 32 = 21.9.
    assert [back["tokens"] for back in refunded["expected"]["clawbacks"]] == [1093 + 21]


def test_a_refund_of_a_switch_takes_the_new_allowance(sandbox: Sandbox) -> None:
    sandbox.story("sign_up", user_id="ada", price="starter_monthly")
    later(sandbox, 15)
    sandbox.story("switch_interval", user_id="ada", price="starter_yearly")

    refunded = sandbox.story("refund", user_id="ada")

    # The credit of 500 was for the month, which is over. The year's 1,000 tokens are taken, because its payment is refunded.
    assert [back["tokens"] for back in refunded["expected"]["clawbacks"]] == [1000]


@pytest.mark.parametrize("how", ["balance", "refund", "out_of_band"])
def test_a_credit_note_takes_its_share_once(sandbox: Sandbox, how: str) -> None:
    sandbox.story("sign_up", user_id="ada", price="pro_monthly")

    noted = sandbox.story("credit_note", user_id="ada", amount=1450, how=how)

    takes = noted["ids"]["refund"] if how == "refund" else noted["ids"]["credit_note"]
    assert noted["expected"]["clawbacks"] == [{"object": takes, "tokens": 2500}]
    note = sandbox.api("GET", f"/v1/credit_notes/{noted['ids']['credit_note']}")[2]
    assert (note["type"], note["post_payment_amount"], note["out_of_band_amount"]) == (
        "post_payment",
        1450,
        1450 if how == "out_of_band" else None,
    )
    customer = sandbox.api("GET", f"/v1/customers/{noted['ids']['customer']}")[2]
    assert customer["balance"] == (-1450 if how == "balance" else 0)


def test_a_void_credit_note_takes_nothing(sandbox: Sandbox) -> None:
    sandbox.story("sign_up", user_id="ada", price="pro_monthly")
    note = sandbox.story("credit_note", user_id="ada")["ids"]["credit_note"]

    voided = sandbox.story("void_credit_note", credit_note=note)

    assert voided["expected"]["clawbacks"] == []
    assert sandbox.api("GET", f"/v1/credit_notes/{note}")[2]["status"] == "void"
    assert sandbox.api("GET", f"/v1/customers/{voided['ids']['customer']}")[2]["balance"] == 0


@pytest.mark.parametrize("by_invoice", [True, False])
def test_a_one_time_purchase_gives_access(sandbox: Sandbox, by_invoice: bool) -> None:
    bought = sandbox.story("lifetime", user_id="ada", by_invoice=by_invoice)
    month = sandbox.story("lifetime", user_id="bob", price="month_pass", by_invoice=by_invoice)
    later(sandbox, 40)
    refunded = sandbox.story("refund", user_id="ada")

    assert (bought["expected"]["role"], bought["expected"]["membership_status"]) == ("PREMIUM", "ACTIVE")
    assert month["expected"]["role"] == "PREMIUM"
    assert sandbox.look("expected?user_id=bob")["role"] == "USER"
    assert refunded["expected"]["role"] == "USER"


def test_access_ends_when_all_the_money_was_returned_in_any_way(sandbox: Sandbox) -> None:
    sandbox.story("lifetime", user_id="ada", by_invoice=True)
    part = sandbox.story("credit_note", user_id="ada", amount=10_000)
    later(sandbox, 1)
    whole = sandbox.story("credit_note", user_id="ada", amount=9_900)

    # The credit notes return 100.00 and 99.00 of the 199.00.
    assert (part["expected"]["role"], whole["expected"]["role"]) == ("PREMIUM", "USER")


def test_a_guest_is_granted_the_packs_in_the_metadata_of_the_session(sandbox: Sandbox) -> None:
    bought = sandbox.story("guest_checkout", user_id="ada", quantity=2)

    session = sandbox.api("GET", f"/v1/checkout/sessions/{bought['ids']['checkout_session']}")[2]
    assert (session["customer"], session["client_reference_id"], session["payment_status"]) == (None, "ada", "paid")
    assert tokens(bought) == [1000]
    assert bought["expected"]["customers"] == []


@pytest.mark.parametrize("by_invoice", [True, False])
def test_a_purchase_that_costs_nothing_counts(sandbox: Sandbox, by_invoice: bool) -> None:
    bought = sandbox.story("no_cost", user_id="ada", by_invoice=by_invoice)

    session = sandbox.api("GET", f"/v1/checkout/sessions/{bought['ids']['checkout_session']}")[2]
    assert (session["payment_status"], session["amount_total"]) == ("no_payment_required", 0)
    assert (session["invoice"] is not None) is by_invoice
    assert tokens(bought) == [500]


def test_old_api_versions_embed_refunds_in_their_charge(sandbox: Sandbox) -> None:
    sandbox.story("sign_up", user_id="ada")
    refunded = sandbox.story("refund", user_id="ada", amount=100)
    event = next(event["id"] for event in refunded["events"] if event["type"] == "charge.refunded")

    def shown(version: str) -> Any:
        return sandbox.api("GET", f"/v1/events/{event}", Stripe_Version=version)[2]["data"]

    old = shown("2020-08-27")
    assert [refund["id"] for refund in old["object"]["refunds"]["data"]] == [refunded["ids"]["refund"]]
    assert old["previous_attributes"]["refunds"]["data"] == []
    assert "refunds" not in shown("2024-06-20")["object"]


def test_old_api_versions_show_other_ids_of_invoice_lines(sandbox: Sandbox) -> None:
    story = sandbox.story("sign_up", user_id="ada")
    id = invoice(sandbox, story)["lines"]["data"][0]["id"]

    middle = invoice(sandbox, story, "2019-08-14")
    old = invoice(sandbox, story, "2018-02-06")

    assert middle["billing_reason"] == "subscription_create"
    assert middle["lines"]["data"][0]["id"].startswith("sli_")
    assert middle["lines"]["data"][0]["unique_id"] == id
    assert old["billing_reason"] == "subscription_update"
    assert old["lines"]["data"][0]["id"] == story["ids"]["subscription"]


def test_plans_in_the_api_of_2017_have_no_product(sandbox: Sandbox) -> None:
    story = sandbox.story("sign_up", user_id="ada")

    old = sandbox.api("GET", f"/v1/subscriptions/{story['ids']['subscription']}", Stripe_Version="2017-08-15")[2]

    assert "product" not in old["plan"]
    assert "price" not in old["items"]["data"][0]
