"""Operations that read: objects and lists of every kind, embedded lists, events, and the account itself."""

from typing import Any

from sandbox.api import expand, lists
from sandbox.api.call import Call, Handler, Routes
from sandbox.errors import StripeError, invalid, missing
from sandbox.events import snapshot, thin
from sandbox.kinds import BY_PATH, KINDS, Kind

_ENDED = ("canceled", "incomplete_expired")
_TOO_MANY_TYPES = 20


def add_to(routes: Routes) -> None:
    """Add the operations that read."""
    for path, kind in BY_PATH.items():
        resource = kind.name.replace(".", "_")
        listing = _listing_plain(kind) if kind.plain else _listing(kind)
        routes.add("GET", path, listing, resource=resource)
        routes.add("GET", f"{path}/{{id}}", _retrieving(kind), resource=resource)
    routes.add("GET", "/v1/subscription_items", list_items, resource="subscription")
    routes.add("GET", "/v1/subscription_items/{id}", retrieve_item, resource="subscription")
    routes.add("GET", "/v1/invoices/{id}/lines", list_lines, resource="invoice")
    routes.add("GET", "/v1/checkout/sessions/{id}/line_items", list_line_items, resource="checkout_session")
    routes.add("GET", "/v1/customers/{id}/payment_methods", list_cards, resource="payment_method")
    routes.add("GET", "/v1/credit_notes/{id}/lines", list_note_lines, resource="credit_note")
    routes.add("GET", "/v1/charges/{id}/refunds", list_refunds, resource="charge")
    routes.add("GET", "/v1/events", list_events, resource="event")
    routes.add("GET", "/v1/events/{id}", retrieve_event, resource="event")
    routes.add("GET", "/v2/core/events", list_thin_events, resource="event")
    routes.add("GET", "/v2/core/events/{id}", retrieve_thin_event, resource="event")
    for kind in KINDS.values():
        for path in kind.under:
            routes.add("GET", path, _listing_plain(kind), resource=kind.name.replace(".", "_"))
        if "{id}" in kind.url and kind.url != f"{kind.path}/{{id}}":
            routes.add("GET", kind.url, _retrieving(kind), resource=kind.name.replace(".", "_"))
    routes.add("GET", "/v1/account", retrieve_account, resource="account")


def _retrieving(kind: Kind) -> Handler:
    def retrieve(call: Call) -> dict[str, Any]:
        wanted = expand.read(call.params)
        call.params.refuse_rest()
        version = call.view.version(kind.name, call.id)
        if version is None or (version.body is None and not kind.deleted_stub):
            raise missing(kind.name, call.id)
        if version.body is None:
            return {"id": call.id, "object": kind.name, "deleted": True}
        record = version.record()
        if kind.name == "plan" and record["recurring"] is None:
            raise missing(kind.name, call.id)
        shown = call.shape.render(kind.name, record, call.view)
        return expand.apply(shown, wanted, call)

    return retrieve


def _listing(kind: Kind) -> Handler:
    def listing(call: Call) -> dict[str, Any]:
        cursor = lists.read_cursor(call.params)
        wanted = expand.read(call.params)
        filters, hidden = _filters(kind, call)
        call.params.refuse_rest()
        ids, has_more = lists.of_kind(call.view, kind, cursor, filters, hidden)
        data = [call.show(kind.name, id) for id in ids]
        return expand.apply(lists.answer(kind.path, data, has_more), wanted, call)

    return listing


def _listing_plain(kind: Kind) -> Handler:
    """List objects that are stored as given, by the parent in the path or in a parameter. Other filters are ignored."""

    def listing(call: Call) -> dict[str, Any]:
        cursor = lists.read_cursor(call.params)
        filters = {name: call.params.text(name) for name, _ in kind.owners if name in call.params}
        if call.ids:
            filters["_parent"] = call.id
        ids, has_more = lists.of_kind(call.view, kind, cursor, filters, {})
        return lists.answer(call.path, [call.show(kind.name, id) for id in ids], has_more)

    return listing


def _filters(kind: Kind, call: Call) -> tuple[dict[str, Any], dict[str, tuple[str, ...]]]:
    params = call.params
    filters: dict[str, Any] = {}
    hidden: dict[str, tuple[str, ...]] = {}
    if kind.name == "plan":
        filters["type"] = "recurring"
    for name, _ in kind.filters:
        if name in ("user_id", "ids", "client_reference_id") or name not in params:
            continue
        if name == "active":
            filters[name] = params.flag(name)
        elif name == "lookup_keys":
            filters[name] = tuple(params.strings(name))
        elif name == "payment":
            filters[name] = _payment(call)
        else:
            filters[name] = params.text(name)
    if kind.name == "product" and "ids" in params:
        filters["ids"] = tuple(params.strings("ids"))
    if kind.name == "subscription":
        status = filters.pop("status", None)
        if status is None:
            hidden["status"] = _ENDED
        elif status != "all":
            filters["status"] = _ENDED if status == "ended" else status
    return {name: value for name, value in filters.items() if value is not None}, hidden


def _payment(call: Call) -> str | None:
    payment = call.params.nested("payment")
    if payment is None:
        return None
    payment.required("type")
    return payment.text("payment_intent")


def list_items(call: Call) -> dict[str, Any]:
    """All items of one subscription, in pages."""
    subscription = call.params.required("subscription")
    cursor = lists.read_cursor(call.params, with_created=False)
    wanted = expand.read(call.params)
    call.params.refuse_rest()
    record = call.view.find("subscription", subscription)
    if record is None:
        raise missing("subscription", subscription, param="subscription", status=400)
    page, has_more = lists.of_members(record["items"], cursor, "subscription_item")
    data = [call.shape.item(item, subscription, call.view) for item in page]
    return expand.apply(lists.answer("/v1/subscription_items", data, has_more), wanted, call)


def retrieve_item(call: Call) -> dict[str, Any]:
    """One item. It is found by searching all subscriptions, which is acceptable because this is rare."""
    call.params.refuse_rest()
    for _, _, id in call.view.store.shelves["subscription"].order:
        version = call.view.version("subscription", id)
        if version is not None and version.body is not None and call.id.encode() in version.body:
            for item in version.record()["items"]:
                if item["id"] == call.id:
                    return call.shape.item(item, id, call.view)
    raise missing("subscription_item", call.id)


def list_lines(call: Call) -> dict[str, Any]:
    """All lines of one invoice, in pages."""
    cursor = lists.read_cursor(call.params, with_created=False)
    wanted = expand.read(call.params)
    call.params.refuse_rest()
    record = call.view.find("invoice", call.id)
    if record is None:
        raise missing("invoice", call.id, param="invoice")
    page, has_more = lists.of_members(record["lines"], cursor, "line_item")
    data = [call.shape.line(line, record, call.view) for line in page]
    return expand.apply(lists.answer(call.path, data, has_more), wanted, call)


def list_line_items(call: Call) -> dict[str, Any]:
    """The line items of a checkout session."""
    cursor = lists.read_cursor(call.params, with_created=False)
    call.params.refuse_rest()
    session = call.view.find("checkout.session", call.id)
    if session is None:
        raise missing("checkout.session", call.id, param="session")
    page, has_more = lists.of_members(expand.line_items(session, call), cursor, "item")
    return lists.answer(call.path, page, has_more)


def list_cards(call: Call) -> dict[str, Any]:
    """The payment methods of one customer."""
    cursor = lists.read_cursor(call.params, with_created=False)
    kind = call.params.text("type")
    call.params.refuse_rest()
    filters = {"customer": call.id, **({"type": kind} if kind is not None else {})}
    ids, has_more = lists.of_kind(call.view, BY_PATH["/v1/payment_methods"], cursor, filters, {})
    return lists.answer(call.path, [call.show("payment_method", id) for id in ids], has_more)


def list_note_lines(call: Call) -> dict[str, Any]:
    """The lines of one credit note."""
    cursor = lists.read_cursor(call.params, with_created=False)
    call.params.refuse_rest()
    note = call.view.find("credit_note", call.id)
    if note is None:
        raise missing("credit_note", call.id, param="id")
    page, has_more = lists.of_members(note["lines"]["data"], cursor, "credit_note_line_item")
    return lists.answer(call.path, page, has_more)


def list_refunds(call: Call) -> dict[str, Any]:
    """The refunds of one charge."""
    cursor = lists.read_cursor(call.params, with_created=False)
    call.params.refuse_rest()
    ids, has_more = lists.of_kind(call.view, BY_PATH["/v1/refunds"], cursor, {"charge": call.id}, {})
    return lists.answer(call.path, [call.show("refund", id) for id in ids], has_more)


def list_events(call: Call) -> dict[str, Any]:
    """The events of the last thirty days."""
    account, params = call.account, call.params
    cursor = lists.read_cursor(params)
    types = {*params.strings("types"), *params.strings("type")}
    delivered = params.flag("delivery_success")
    wanted = expand.read(params)
    params.refuse_rest()
    if len(types) > _TOO_MANY_TYPES:
        raise invalid("You may pass up to 20 types.", "types")
    if wanted:
        raise invalid("This property cannot be expanded: events show their objects as they were.", "expand")
    log = account.log
    kept = log.order[log.oldest_kept(account.now) :]

    def accept(id: str) -> bool:
        event = log.by_id[id]
        return (
            (not types or _is_of(event.type, types))
            and (delivered is None or delivered == (log.owed.get(id, 0) == 0))
            and event.number <= call.view.number
        )

    def key_of(id: str, param: str) -> tuple[int, int, str]:
        if id not in log.places:
            raise missing("event", id, param=param, status=400)
        return log.places[id]

    ids, has_more = lists.walk(kept, cursor, key_of, accept)
    data = [_snapshot(call, id) for id in ids]
    return lists.answer("/v1/events", data, has_more)


def retrieve_event(call: Call) -> dict[str, Any]:
    """One event of the last thirty days."""
    call.params.refuse_rest()
    log = call.account.log
    if call.id not in log.places or log.places[call.id] < log.horizon(call.account.now):
        raise missing("event", call.id)
    return _snapshot(call, call.id)


def list_thin_events(call: Call) -> dict[str, Any]:
    """The events of the last thirty days without their objects."""
    params, log = call.params, call.account.log
    limit = params.integer("limit") or 20
    page = params.text("page")
    object_id = params.text("object_id")
    types = set(params.strings("types"))
    params.refuse_rest()
    if not 1 <= limit <= 100:
        raise invalid("limit must be between 1 and 100", "limit")
    after = int(page.removeprefix("page_")) if page is not None and page.removeprefix("page_").isdigit() else 0
    horizon = call.account.now - 30 * 24 * 3600
    events = [event for event in reversed(log.by_thin_id.values()) if event.created >= horizon]
    chosen = [
        event
        for event in events
        if (object_id is None or event.object_id == object_id) and (not types or f"v1.{event.type}" in types)
    ]
    more = f"/v2/core/events?page=page_{after + limit}&limit={limit}" if len(chosen) > after + limit else None
    return {
        "data": [thin(event) for event in chosen[after : after + limit]],
        "next_page_url": more,
        "previous_page_url": None,
    }


def retrieve_thin_event(call: Call) -> dict[str, Any]:
    """One event without its object, but with its changes."""
    call.params.refuse_rest()
    event = call.account.log.by_thin_id.get(call.id)
    if event is None:
        raise StripeError(404, f"Event {call.id} not found.", code="not_found")
    shown = thin(event)
    if event.since is not None:
        data = snapshot(event, call.shape, call.account.store, owed=0)["data"]
        shown["changes"] = data.get("previous_attributes")
    return shown


def retrieve_account(call: Call) -> dict[str, Any]:
    """The account of the key."""
    call.params.refuse_rest()
    return {
        "id": call.account.ids.account(),
        "object": "account",
        "business_profile": {"name": "Sandbox", "url": None},
        "business_type": "company",
        "capabilities": {"card_payments": "active", "transfers": "active"},
        "charges_enabled": True,
        "country": "US",
        "default_currency": "usd",
        "details_submitted": True,
        "email": "owner@example.com",
        "livemode": False,
        "payouts_enabled": True,
        "settings": {"dashboard": {"display_name": "Sandbox", "timezone": "Etc/UTC"}},
        "type": "standard",
    }


def _is_of(type: str, wanted: set[str]) -> bool:
    """Whether a type is requested; `customer.*` requests all types with that prefix."""
    return type in wanted or any(name.endswith("*") and type.startswith(name[:-1]) for name in wanted)


def _snapshot(call: Call, id: str) -> dict[str, Any]:
    log = call.account.log
    return snapshot(log.by_id[id], call.shape, call.account.store, owed=log.owed.get(id, 0))
