"""Features, and their attachments to products. As at Stripe, changes of both send no event."""

from typing import Any

from sandbox.api import lists
from sandbox.api.call import Call, Routes
from sandbox.errors import invalid, missing

JSON = dict[str, Any]


def add_to(routes: Routes) -> None:
    """Add the operations on features."""
    routes.add("POST", "/v1/entitlements/features", create_feature, resource="entitlement")
    path = "/v1/products/{id}/features"
    routes.add("GET", path, list_attached, resource="product")
    routes.add("POST", path, attach, resource="product")
    routes.add("GET", f"{path}/{{feature}}", retrieve_attached, resource="product")
    routes.add("DELETE", f"{path}/{{feature}}", detach, resource="product")


def create_feature(call: Call) -> JSON:
    """A new feature. No other feature may have the same lookup key."""
    name, key = call.params.required("name"), call.params.required("lookup_key")
    metadata = call.params.metadata()
    call.params.refuse_rest()
    if call.view.owned("entitlements.feature", "lookup_key", key):
        raise invalid(f"A feature with lookup key `{key}` already exists.", "lookup_key", "resource_already_exists")
    record: JSON = {"id": call.account.ids.plain("feat_"), "name": name, "lookup_key": key, "metadata": metadata or {}}
    call.account.create("entitlements.feature", {**record, "_created": call.account.now})
    return call.result("entitlements.feature", record["id"])


def list_attached(call: Call) -> JSON:
    """The features attached to a product, newest first."""
    cursor = lists.read_cursor(call.params, with_created=False)
    call.params.refuse_rest()
    shown = [_shown(call, each) for each in reversed(_attached(call))]
    page, has_more = lists.of_members(shown, cursor, "product_feature")
    return lists.answer(call.path, page, has_more)


def retrieve_attached(call: Call) -> JSON:
    """One of a product's features."""
    call.params.refuse_rest()
    return _shown(call, _one(call))


def attach(call: Call) -> JSON:
    """Attach a feature to a product."""
    feature = call.params.required("entitlement_feature")
    call.params.refuse_rest()
    call.account.require("entitlements.feature", feature, param="entitlement_feature")
    attached = _attached(call)
    if any(each["feature"] == feature for each in attached):
        raise invalid("This feature is already attached to the product.", "entitlement_feature")
    made = {"id": call.account.ids.plain("prodft_"), "feature": feature}
    call.account.change("product", call.id, _features=[*attached, made])
    return _shown(call, made)


def detach(call: Call) -> JSON:
    """Remove a feature from a product."""
    gone = _one(call)
    call.account.change("product", call.id, _features=[each for each in _attached(call) if each != gone])
    return {"id": gone["id"], "object": "product_feature", "deleted": True}


def _attached(call: Call) -> list[JSON]:
    product = call.view.find("product", call.id)
    if product is None:
        raise missing("product", call.id)
    attached: list[JSON] = product.get("_features", [])
    return attached


def _one(call: Call) -> JSON:
    for each in _attached(call):
        if each["id"] == call.ids[1]:
            return each
    raise missing("product_feature", call.ids[1])


def _shown(call: Call, attached: JSON) -> JSON:
    return {
        "id": attached["id"],
        "object": "product_feature",
        "entitlement_feature": call.show("entitlements.feature", attached["feature"]),
        "livemode": False,
    }
