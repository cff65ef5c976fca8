"""Operations that write products, prices, coupons, customers and payment methods."""

from typing import Any

from sandbox import catalog, customers
from sandbox.api.call import Call, Routes
from sandbox.errors import invalid


def add_to(routes: Routes) -> None:
    """Add the operations of selling."""
    routes.add("POST", "/v1/products", create_product)
    routes.add("POST", "/v1/products/{id}", update_product)
    routes.add("DELETE", "/v1/products/{id}", delete_product)
    routes.add("POST", "/v1/prices", create_price)
    routes.add("POST", "/v1/prices/{id}", update_price)
    routes.add("DELETE", "/v1/plans/{id}", delete_plan)
    routes.add("POST", "/v1/coupons", create_coupon)
    routes.add("POST", "/v1/coupons/{id}", update_coupon)
    routes.add("DELETE", "/v1/coupons/{id}", delete_coupon)
    routes.add("POST", "/v1/customers", create_customer)
    routes.add("POST", "/v1/customers/{id}", update_customer)
    routes.add("DELETE", "/v1/customers/{id}", delete_customer)
    routes.add("POST", "/v1/payment_methods/{id}/attach", attach_card, resource="payment_method")
    routes.add("POST", "/v1/payment_methods/{id}/detach", detach_card, resource="payment_method")


def create_product(call: Call) -> dict[str, Any]:
    """A new product, with a first price if one is described."""
    params = call.params
    name, id = params.required("name"), params.text("id")
    fields = {**params.take(**_PRODUCT), **_metadata(call)}
    price = params.nested("default_price_data")
    params.refuse_rest()
    product = catalog.create_product(call.account, name=name, id=id, **fields)
    if price is not None:
        made = catalog.create_price(
            call.account,
            product=product["id"],
            unit_amount=price.integer("unit_amount") or 0,
            currency=price.required("currency"),
            **_recurring(price.nested("recurring")),
        )
        catalog.update_product(call.account, product["id"], default_price=made["id"])
    return call.result("product", product["id"])


def update_product(call: Call) -> dict[str, Any]:
    """Change a product."""
    record = call.existing("product")
    changes = call.params.take(name="text", default_price="text", **_PRODUCT)
    changes.update(_metadata(call, record.get("metadata")))
    call.params.refuse_rest()
    if changes.get("default_price") is not None:
        call.account.require("price", changes["default_price"], param="default_price")
    catalog.update_product(call.account, call.id, **changes)
    return call.result("product", call.id)


def delete_product(call: Call) -> dict[str, Any]:
    """Delete a product without prices."""
    call.existing("product")
    catalog.delete_product(call.account, call.id)
    return {"id": call.id, "object": "product", "deleted": True}


def create_price(call: Call) -> dict[str, Any]:
    """A new price, once or recurring."""
    params = call.params
    product = params.text("product")
    described = params.nested("product_data")
    unit_amount, currency = params.integer("unit_amount"), params.required("currency")
    recurring = _recurring(params.nested("recurring"))
    fields = {**params.take(active="flag", lookup_key="text", nickname="text", tax_behavior="text"), **_metadata(call)}
    params.refuse_rest()
    if unit_amount is None:
        raise invalid("Prices require an `unit_amount` or `unit_amount_decimal` parameter to be set.")
    if described is not None:
        product = catalog.create_product(call.account, name=described.required("name"))["id"]
    elif product is None:
        raise invalid("Must provide exactly one of `product` or `product_data`.")
    else:
        call.account.require("product", product, param="product")
    price = catalog.create_price(
        call.account, product=product, unit_amount=unit_amount, currency=currency.lower(), **recurring, **fields
    )
    return call.result("price", price["id"])


def update_price(call: Call) -> dict[str, Any]:
    """Change a price; its amount can't be changed."""
    record = call.existing("price")
    changes = call.params.take(active="flag", lookup_key="text", nickname="text", tax_behavior="text")
    changes.update(_metadata(call, record.get("metadata")))
    call.params.refuse_rest()
    catalog.update_price(call.account, call.id, **changes)
    return call.result("price", call.id)


def delete_plan(call: Call) -> dict[str, Any]:
    """Delete a plan, and with it the price."""
    call.account.require("plan", call.id, status=404)
    catalog.delete_price(call.account, call.id)
    return {"id": call.id, "object": "plan", "deleted": True}


def create_coupon(call: Call) -> dict[str, Any]:
    """A new coupon."""
    params = call.params
    fields = params.take(
        name="text",
        amount_off="integer",
        currency="text",
        percent_off="number",
        duration="text",
        duration_in_months="integer",
        max_redemptions="integer",
        redeem_by="integer",
    )
    id = params.text("id")
    fields.update(_metadata(call))
    params.refuse_rest()
    if (fields.get("percent_off") is None) == (fields.get("amount_off") is None):
        raise invalid("You must pass either percent_off or amount_off.")
    return call.result("coupon", catalog.create_coupon(call.account, id=id, **fields)["id"])


def update_coupon(call: Call) -> dict[str, Any]:
    """Change a coupon's name or metadata."""
    record = call.existing("coupon")
    changes = {**call.params.take(name="text"), **_metadata(call, record.get("metadata"))}
    call.params.refuse_rest()
    call.account.update("coupon.updated", "coupon", call.id, **changes)
    return call.result("coupon", call.id)


def delete_coupon(call: Call) -> dict[str, Any]:
    """Delete a coupon."""
    call.existing("coupon")
    catalog.delete_coupon(call.account, call.id)
    return {"id": call.id, "object": "coupon", "deleted": True}


def create_customer(call: Call) -> dict[str, Any]:
    """A new customer, with a card if one is named. Any id works, because all cards of the sandbox are alike."""
    fields = {**call.params.take(**_CUSTOMER), **_metadata(call)}
    card = call.params.text("payment_method")
    settings = call.params.nested("invoice_settings")
    call.params.refuse_rest()
    customer = customers.create_customer(call.account, **fields)
    if card is not None:
        attached = customers.attach_card(call.account, customer["id"])["id"]
        if settings is not None and settings.text("default_payment_method"):
            customers.prefer_card(call.account, customer["id"], attached)
    return call.result("customer", customer["id"])


def update_customer(call: Call) -> dict[str, Any]:
    """Change a customer."""
    record = call.existing("customer")
    changes = {**call.params.take(**_CUSTOMER), **_metadata(call, record.get("metadata"))}
    settings = call.params.nested("invoice_settings")
    card = settings.text("default_payment_method") if settings is not None else None
    call.params.refuse_rest()
    if card is not None:
        call.account.require("payment_method", card, param="invoice_settings[default_payment_method]")
        changes["invoice_settings"] = customers.settings_with(record, card)
    call.account.update("customer.updated", "customer", call.id, **changes)
    return call.result("customer", call.id)


def delete_customer(call: Call) -> dict[str, Any]:
    """Delete a customer, and end the customer's subscriptions."""
    call.existing("customer")
    customers.delete_customer(call.account, call.id)
    return {"id": call.id, "object": "customer", "deleted": True}


def attach_card(call: Call) -> dict[str, Any]:
    """Attach a test card (such as `pm_card_visa`) to a customer."""
    customer = call.params.required("customer")
    call.params.refuse_rest()
    call.account.require("customer", customer, param="customer")
    return call.result("payment_method", customers.attach_card(call.account, customer)["id"])


def detach_card(call: Call) -> dict[str, Any]:
    """Detach a card from its customer."""
    record = call.existing("payment_method")
    call.params.refuse_rest()
    if record.get("customer") is None:
        raise invalid("The payment method you provided is not attached to a customer so detachment is impossible.")
    customers.detach_card(call.account, call.id)
    return call.result("payment_method", call.id)


_PRODUCT = {
    "active": "flag",
    "description": "text",
    "images": "strings",
    "statement_descriptor": "text",
    "tax_code": "text",
    "unit_label": "text",
    "url": "text",
}
_CUSTOMER = {"balance": "integer", "description": "text", "email": "text", "name": "text", "phone": "text"}


def _recurring(params: Any) -> dict[str, Any]:
    if params is None:
        return {}
    fields = {"interval": params.choice("interval", "day", "week", "month", "year")}
    fields.update(params.take(interval_count="integer", trial_period_days="integer"))
    params.text("usage_type")
    params.refuse_rest()
    return fields


def _metadata(call: Call, old: dict[str, str] | None = None) -> dict[str, Any]:
    metadata = call.params.metadata(old)
    return {} if metadata is None else {"metadata": metadata}
