"""The controls under `/_sandbox`. With them a test or a person changes the state and the behaviour of the sandbox."""

import copy
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from sandbox import plain
from sandbox.account import Account
from sandbox.clock import Clock
from sandbox.connected import Connected
from sandbox.delivery import Delivery, Endpoint
from sandbox.errors import StripeError, invalid, missing
from sandbox.faults import Conditions, Fault, Limits
from sandbox.journal import Journal
from sandbox.keys import Keys
from sandbox.kinds import KINDS
from sandbox.populate import populate
from sandbox.shapes import CURRENT, shape_of
from sandbox.stats import Stats
from sandbox.stories import playing
from sandbox.stories.expected import of_members, of_user

JSON = dict[str, Any]


class Control:
    """The control operations over all parts of the sandbox."""

    def __init__(
        self,
        account: Account,
        delivery: Delivery,
        conditions: Conditions,
        keys: Keys,
        stats: Stats,
        journal: Journal | None,
    ) -> None:
        self.account = account
        self.delivery = delivery
        self.conditions = conditions
        self.keys = keys
        self.stats = stats
        self.journal = journal
        self.connected = Connected(account.clock)
        self.on_account: Callable[[Account], None] = lambda _: None
        self._operations: dict[tuple[str, str], Callable[[JSON], Awaitable[JSON]]] = {
            ("GET", ""): self.help,
            ("GET", "state"): self.state,
            ("GET", "stats"): self.show_stats,
            ("GET", "clock"): self.show_clock,
            ("POST", "reset"): self.reset,
            ("POST", "clock"): self.set_clock,
            ("POST", "deliveries"): self.deliveries,
            ("POST", "endpoints"): self.add_endpoint,
            ("POST", "accounts"): self.accounts,
            ("POST", "roll_secret"): self.roll_secret,
            ("POST", "faults"): self.faults,
            ("POST", "keys"): self.change_keys,
            ("POST", "populate"): self.populate,
            ("POST", "objects"): self.put_object,
            ("GET", "history"): self.history,
            ("GET", "expected"): self.expected,
        }

    async def answer(self, method: str, path: str, query: dict[str, Any], body: bytes) -> JSON:
        """Handle a control request."""
        name = path.removeprefix("/_sandbox").strip("/")
        given = _decoded(body) if method == "POST" else query
        if "account" in given:
            inside = copy.copy(self)
            inside.account = self.connected.of(str(given.pop("account")), self.account)
            return await inside._answer(method, name, given)
        return await self._answer(method, name, given)

    async def _answer(self, method: str, name: str, given: JSON) -> JSON:
        if method == "POST" and name.startswith("stories/"):
            return playing.play(self.account, name.removeprefix("stories/"), given)
        operation = self._operations.get((method, name))
        if operation is None:
            raise StripeError(404, f"No such control: {method} {name}; see GET /_sandbox")
        try:
            answer: JSON = await getattr(self, operation.__name__)(given)
        except (TypeError, ValueError) as error:
            raise invalid(f"{name}: {error}") from error
        return answer

    async def help(self, given: JSON) -> JSON:
        """This list."""
        return {
            "controls": {
                f"{method} /_sandbox/{name}".rstrip("/"): operation.__doc__
                for (method, name), operation in self._operations.items()
            },
            "stories": [playing.describe(name) for name in playing.STORIES],
        }

    async def state(self, given: JSON) -> JSON:
        """The current objects of a type: ?type=subscription[&limit=1000][&after=ID][&version=2024-06-20].

        The first page also lists deleted objects, as `deleted`. Without `type`: the number of objects of each type.
        """
        name = given.get("type")
        if name is None:
            return {kind: shelf.alive for kind, shelf in self.account.store.shelves.items()}
        limit, after = int(given.get("limit", 1000)), given.get("after")
        shape, view = shape_of(given.get("version")), self.account.view
        parents = {"subscription_item": "subscription", "line_item": "invoice"}
        kind = parents.get(name, name)
        if kind not in KINDS:
            raise invalid(f"No such type: {name}", "type")
        shelf = self.account.store.shelves[KINDS[kind].kept_as]
        if after is not None and after not in shelf.entries:
            raise missing(kind, after, param="after", status=400)
        start = shelf.place_after(after) if after is not None else 0
        objects: list[JSON] = []
        deleted = [] if after is not None else shelf.deleted()
        last = None
        for _, _, id in shelf.order[start : start + limit]:
            last = id
            record = view.find(kind, id)
            if record is None or (name == "plan" and record["recurring"] is None):
                continue
            if name == "subscription_item":
                objects.extend(shape.item(item, id, view) for item in record["items"])
            elif name == "line_item":
                objects.extend(shape.line(line, record, view) for line in record["lines"])
            else:
                objects.append(shape.render(name, record, view))
        more = start + limit < len(shelf.order)
        return {"type": name, "objects": objects, "deleted": deleted, "next": last if more else None}

    async def history(self, given: JSON) -> JSON:
        """All versions of one object, oldest first: ?type=subscription&id=ID[&version=2024-06-20]."""
        kind, id = given.get("type", ""), given.get("id", "")
        if kind not in KINDS:
            raise invalid(f"No such type: {kind}", "type")
        shape, store = shape_of(given.get("version")), self.account.store
        shown = [
            {
                "number": version.number,
                "at": version.at,
                "object": shape.render(kind, version.record(), store.view(version.number))
                if version.body is not None
                else None,
            }
            for version in store.shelves[KINDS[kind].kept_as].history(id)
        ]
        return {"type": kind, "id": id, "versions": shown}

    async def expected(self, given: JSON) -> JSON:
        """The access, tokens and grants that a user should have now: ?user_id=ID. The access that the members of an
        organization should have now: ?organization_id=ID."""
        if "organization_id" in given:
            return of_members(self.account, given["organization_id"])
        if "user_id" not in given:
            raise invalid("Missing required param: user_id.", "user_id", "parameter_missing")
        return of_user(self.account, given["user_id"])

    async def show_stats(self, given: JSON) -> JSON:
        """Counts of objects, events, deliveries, requests, and 429s."""
        return {
            "objects": {kind: shelf.alive for kind, shelf in self.account.store.shelves.items()},
            "events": len(self.account.log.by_id),
            "deliveries": {"pending": self.delivery.pending, **self.delivery.counts.shown()},
            **self.stats.shown(),
        }

    async def reset(self, given: JSON) -> JSON:
        """Remove all objects, events, faults, keys and counts, and reset the clock. Endpoints stay, unless the request has
        {"endpoints": true}. {"seed": 7} sets the seed of new ids."""
        seed = int(given.get("seed", self.account.ids.seed))
        if self.journal is not None:
            self.journal.clear()
        self.account.clear(seed=seed)
        self.connected.accounts.clear()
        self.account.clock.follow_real_time()
        self.delivery.clear(seed=seed)
        for id in list(self.delivery.endpoints):
            if given.get("endpoints"):
                self.delivery.remove(id)
            else:
                self.delivery.add(self.delivery.endpoints[id])
        self.conditions.clear()
        self.keys.clear()
        self.stats.clear()
        return {"reset": True, "seed": seed}

    async def show_clock(self, given: JSON) -> JSON:
        """The sandbox's time, and whether its clock shows the real time, differs from it, or is frozen."""
        clock: Clock = self.account.clock
        return {"now": clock.now(), "mode": clock.mode}

    async def set_clock(self, given: JSON) -> JSON:
        """{"now": UNIX} sets the time; with "frozen": true the clock then stands still. {"advance": SECONDS} moves the time
        forward. {"real": true} returns to the real time."""
        clock = self.account.clock
        if given.get("real"):
            clock.follow_real_time()
        if "now" in given:
            clock.set(float(given["now"]), frozen=bool(given.get("frozen", False)))
        if "advance" in given:
            clock.advance(float(given["advance"]))
        return await self.show_clock(given)

    async def deliveries(self, given: JSON) -> JSON:
        """Change settings (the answer lists them) or act. {"flush": true} sends all queued deliveries now, with
        "shuffle": true in random order. {"drain": SECONDS} waits at most this long until the queue is empty.
        {"resend": [EVENT, ...]} queues events again. {"deletion_stubs": true}: deletion events contain only `id`, `object`
        and `deleted`. {"discard": true} empties the queue."""
        actions = ("flush", "shuffle", "drain", "resend", "deletion_stubs", "discard")
        try:
            self.delivery.set({name: value for name, value in given.items() if name not in actions})
        except msgspec.ValidationError as error:
            raise invalid(str(error)) from error
        if "deletion_stubs" in given:
            self.account.deletes_show_stubs = bool(given["deletion_stubs"])
        if given.get("discard"):
            self.delivery.discard()
        for id in given.get("resend", ()):
            if id not in self.account.log.by_id:
                raise invalid(f"No such event: '{id}'", "resend", "resource_missing")
            self.delivery.resend(self.account.log.by_id[id])
        if given.get("flush"):
            await self.delivery.flush(shuffle=bool(given.get("shuffle")))
        if "drain" in given:
            await self.delivery.drain(float(given["drain"]))
        return {
            "pending": self.delivery.pending,
            **self.delivery.counts.shown(),
            "settings": msgspec.to_builtins(self.delivery.settings),
        }

    async def add_endpoint(self, given: JSON) -> JSON:
        """Add or replace a webhook endpoint: {"url", "secrets": [...], "api_version", "enabled_events": [...],
        "payload": "snapshot" | "thin" | "both", "id", "disabled"}. An id `ed_...` makes it an event destination (v2)."""
        now = self.account.now
        try:
            endpoint = msgspec.convert(
                {
                    "id": self.account.ids.timed("we_", now),
                    "secrets": [self.account.ids.plain("whsec_", 32)],
                    "created": now,
                    **given,
                },
                Endpoint,
            )
        except msgspec.ValidationError as error:
            raise invalid(str(error)) from error
        shape_of(endpoint.api_version)
        self.delivery.add(endpoint)
        shown: JSON = msgspec.to_builtins(endpoint)
        return shown

    async def accounts(self, given: JSON) -> JSON:
        """{"connect": ["acct_1", "acct_2"], "seed": 1} connects accounts. Accounts connected with the same seed create objects
        with the same ids from the same requests. {"deauthorize": "acct_1"} disconnects an account, and sends the event for
        it. API requests name an account in the header `Stripe-Account`, other controls with {"account": "acct_1"}."""
        for id in given.get("connect", ()):
            self.on_account(self.connected.add(str(id), self.account, seed=int(given.get("seed", 1))))
        if "deauthorize" in given:
            id = str(given["deauthorize"])
            self.connected.remove(id, self.account)
            await self.delivery.send(
                {
                    "id": self.account.ids.timed("evt_", self.account.now),
                    "object": "event",
                    "account": id,
                    "api_version": CURRENT,
                    "created": self.account.now,
                    "data": {"object": {"id": "ca_sandbox", "object": "application", "name": "Sandbox"}},
                    "livemode": False,
                    "pending_webhooks": 1,
                    "request": {"id": None, "idempotency_key": None},
                    "type": "account.application.deauthorized",
                }
            )
        return {"accounts": list(self.connected.accounts)}

    async def roll_secret(self, given: JSON) -> JSON:
        """{"id": ENDPOINT} adds a new secret. As with Stripe's dashboard, deliveries are then signed with the old and the new
        secret. {"id": ENDPOINT, "expire": true} removes the old secrets."""
        if given.get("id") not in self.delivery.endpoints:
            raise missing("webhook_endpoint", str(given.get("id")), param="id", status=400)
        secret = None if given.get("expire") else self.account.ids.plain("whsec_", 32)
        shown: JSON = msgspec.to_builtins(self.delivery.roll(given["id"], secret))
        return shown

    async def faults(self, given: JSON) -> JSON:
        """{"operation": "GET /v1/subscriptions", "rate429": 0.2, "reason", "rate500", "slow_seconds", "hang", "requests": N,
        "seconds": S} adds a fault for all operations whose name begins with `operation`. {"clear": true} removes all faults
        and limits. {"replica_lag_seconds": 2}: reads show an older state. {"date_skew_seconds": 4} shifts the Date header.
        {"limits": {"account": 25, "operation": 25}} sets limits on requests per second; null removes them."""
        conditions = self.conditions
        fault = dict(given)
        if fault.pop("clear", False):
            conditions.clear()
        try:
            if "limits" in fault:
                limits = fault.pop("limits")
                conditions.limits = msgspec.convert(limits, Limits) if limits is not None else None
            for name in ("replica_lag_seconds", "date_skew_seconds"):
                if name in fault:
                    setattr(conditions, name, float(fault.pop(name)))
            if fault:
                conditions.add(msgspec.convert(fault, Fault))
        except msgspec.ValidationError as error:
            raise invalid(str(error)) from error
        return {
            "faults": [
                {name: value for name, value in msgspec.to_builtins(fault).items() if name != "expires"}
                for fault in conditions.faults
            ],
            "limits": msgspec.to_builtins(conditions.limits),
            "replica_lag_seconds": conditions.replica_lag_seconds,
            "date_skew_seconds": conditions.date_skew_seconds,
        }

    async def populate(self, given: JSON) -> JSON:
        """{"products": 3, "customers": N, "subscriptions": N, "invoices": false, "charges": N, "seed": 0,
        "user_prefix": "user_"} creates objects, without events for them."""
        return populate(self.account, **given)

    async def put_object(self, given: JSON) -> JSON:
        """{"object": {"object": "payout", "id": "po_1", ...}, "parent": "cus_1", "delete": false} creates, changes or deletes
        an object of a type for which the sandbox has no rules, and sends the event for it."""
        obj, parent = given.get("object"), given.get("parent")
        if not isinstance(obj, dict):
            raise invalid("The request has no `object`.", "object")
        event = plain.put(self.account, obj, parent=parent, delete=bool(given.get("delete")))
        return {"object": obj.get("object"), "id": obj.get("id"), "event": event}

    async def change_keys(self, given: JSON) -> JSON:
        """{"deny": ["product", "invoice_read"], "key": "rk_test_..."} makes a restricted key without these permissions.
        {"expire": KEY} lets a key expire. {"restore": KEY} makes it valid again, with all permissions."""
        if "expire" in given:
            self.keys.expired.add(str(given["expire"]))
            return {"key": given["expire"], "expired": True}
        if "restore" in given:
            self.keys.expired.discard(str(given["restore"]))
            self.keys.denied.pop(str(given["restore"]), None)
            return {"key": given["restore"], "expired": False}
        key = str(given.get("key") or self.account.ids.plain("rk_test_", 32))
        self.keys.restrict(key, set(given.get("deny", ())))
        return {"key": key, "lacks": sorted(self.keys.denied[key])}


def _decoded(body: bytes) -> JSON:
    try:
        given = msgspec.json.decode(body) if body.strip() else {}
    except msgspec.DecodeError as error:
        raise invalid(f"The body of a control request must be JSON: {error}") from error
    if not isinstance(given, dict):
        raise invalid("The body of a control request must be a JSON object")
    return given
