"""The client's requests, its reaction to each answer, and when it gives up."""

import gzip
import json
import re
import socket
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from prometheus_client import REGISTRY
from pydantic import SecretStr

from schema import catalogue
from tests.stripe_api.conftest import KEY, NOW, Clock, Reply, Request, ScriptedStripe, failure
from worker.config.errors import Permanent, SyncError, Temporary
from worker.config.settings import ConfigError, Settings
from worker.stripe_api.answers import API_VERSION, Answer
from worker.stripe_api.client import ATTEMPTS, Stripe, operation_of
from worker.stripe_api.errors import (
    BadKey,
    CursorGone,
    InvalidRequest,
    Locked,
    MissingPermission,
    NotFound,
    StripeFailed,
    TimedOut,
    Unreachable,
    WrongMode,
)
from worker.stripe_api.rate_limit import RateLimited

PATH = "/v1/subscriptions/sub_1"
OPERATION = "GET /v1/subscriptions/{id}"
PERMISSION = (
    "The provided key 'rk_test_*****1234' does not have the required permissions for this endpoint on account 'acct_1'. "
    "Having the 'rak_subscription_read' permission would allow this request to continue."
)
OTHER_MODE = (
    "No such subscription: 'sub_1'; a similar object exists in live mode, "
    "but a test mode key was used to make this request."
)


def page(*ids: str, has_more: bool = False) -> Reply:
    return Reply({"object": "list", "data": [{"id": id} for id in ids], "has_more": has_more})


def asked(request: Request) -> dict[str, list[str]]:
    return parse_qs(urlsplit(request.target).query)


def test_a_request_carries_the_key_the_pinned_version_and_the_account(stripe: Stripe, server: ScriptedStripe) -> None:
    server.answers(Reply({"id": "sub_1"}))

    stripe.retrieve(PATH, params={"expand[]": ["customer", "items"], "live": True}, account="acct_1")

    [request] = server.requests
    assert request.headers["Authorization"] == f"Bearer {KEY}"
    assert request.headers["Stripe-Version"] == API_VERSION
    assert request.headers["Stripe-Account"] == "acct_1"
    assert asked(request) == {"expand[]": ["customer", "items"], "live": ["true"]}


def test_requests_share_a_connection(stripe: Stripe, server: ScriptedStripe) -> None:
    server.answers(Reply({"id": "sub_1"}))

    for _ in range(3):
        stripe.retrieve(PATH)

    assert len({request.port for request in server.requests}) == 1


def test_an_id_is_quoted(stripe: Stripe, server: ScriptedStripe) -> None:
    server.answers(Reply({"id": "50% off?"}))

    stripe.retrieve("/v1/coupons/50% off?")

    assert server.requests[0].target == "/v1/coupons/50%25%20off%3F"


@pytest.mark.parametrize("skew", [-86400, 0, 86400])
def test_an_answer_s_time_is_its_date_header_minus_the_duration_of_the_request(
    stripe: Stripe, server: ScriptedStripe, skew: int
) -> None:
    server.answers(Reply({"id": "sub_1", "status": "active"}, date=NOW + skew, takes=2.5))

    answer = stripe.retrieve(PATH)

    assert answer == Answer({"id": "sub_1", "status": "active"}, deleted=False, missing=False, read_at=NOW + skew - 3)
    assert answer.shape == "endive"


def test_a_compressed_answer_is_read(stripe: Stripe, server: ScriptedStripe) -> None:
    body = gzip.compress(json.dumps({"id": "sub_1", "text": "x" * 500_000}).encode())
    server.answers(Reply(body, headers={"Content-Encoding": "gzip"}))

    answer = stripe.retrieve(PATH)

    assert answer.object is not None
    assert len(answer.object["text"]) == 500_000


def test_a_deletion_stub_is_deleted_and_not_missing(stripe: Stripe, server: ScriptedStripe) -> None:
    server.answers(Reply({"id": "cus_1", "object": "customer", "deleted": True}))

    answer = stripe.retrieve("/v1/customers/cus_1")

    assert (answer.deleted, answer.missing) == (True, False)
    assert answer.object is not None


def test_an_unknown_id_is_missing_at_the_time_of_the_answer(stripe: Stripe, server: ScriptedStripe) -> None:
    server.answers(failure(404, "No such product: 'prod_1'", code="resource_missing", param="id"))

    answer = stripe.retrieve("/v1/products/prod_1")

    assert answer == Answer(None, deleted=True, missing=True, read_at=NOW)


def test_a_page_holds_the_listed_objects_and_the_time_of_the_answer(stripe: Stripe, server: ScriptedStripe) -> None:
    server.answers(page("a", "b", has_more=True))

    read = stripe.page("/v1/products", {"created[gte]": 5, "starting_after": "z"})

    assert ([item["id"] for item in read.data], len(read), read.has_more, read.read_at) == (["a", "b"], 2, True, NOW)
    assert asked(server.requests[0]) == {"limit": ["100"], "created[gte]": ["5"], "starting_after": ["z"]}


def test_a_page_can_be_read_for_a_connected_account(stripe: Stripe, server: ScriptedStripe) -> None:
    server.answers(page("a"))

    stripe.acting_for("acct_1").page("/v1/products")

    assert server.requests[0].headers["Stripe-Account"] == "acct_1"


@pytest.mark.parametrize(
    "body",
    [
        {"data": [], "has_more": True},
        {"data": {}, "has_more": False},
        {"data": []},
        {"id": "prod_1"},
        {"data": [[]], "has_more": False},
        b'{"data": [{"id": "\xff"}], "has_more": false}',
    ],
    ids=str,
)
def test_an_invalid_page_is_refused_by_the_client(stripe: Stripe, server: ScriptedStripe, body: Any) -> None:
    server.answers(Reply(body))

    with pytest.raises(StripeFailed):
        stripe.page("/v1/products")


def test_a_deleted_cursor_is_distinguished_from_a_missing_object(stripe: Stripe, server: ScriptedStripe) -> None:
    server.answers(failure(400, "No such product: 'b'", code="resource_missing", param="starting_after"))

    with pytest.raises(CursorGone):
        stripe.page("/v1/products", {"starting_after": "b"})


def test_a_list_of_a_missing_parent_is_not_found(stripe: Stripe, server: ScriptedStripe) -> None:
    server.answers(failure(404, code="resource_missing", param="id"))

    with pytest.raises(NotFound):
        stripe.page("/v1/invoices/in_1/lines")


@pytest.mark.parametrize(
    "trouble",
    [
        failure(500),
        failure(503),
        Reply(b"<html>bad gateway</html>", 502),
        failure(409, code="lock_timeout"),
        failure(429, headers={"Stripe-Rate-Limited-Reason": "global-rate"}),
        failure(429, code="lock_timeout"),
        Reply(b'{"id": "sub_'),
        Reply(b"[]"),
        Reply({"id": "sub_1"}, date=None),
        Reply({"id": "sub_1"}, promised_bytes=9999),
        Reply({"id": "sub_1"}, takes=5),
    ],
    ids=lambda reply: f"{reply.status}-{reply.body}"[:40],
)
def test_a_temporary_failure_is_retried(
    stripe: Stripe, server: ScriptedStripe, clock: Clock, trouble: Reply, logs: list[Any]
) -> None:
    server.answers(trouble, trouble, Reply({"id": "sub_1"}))

    answer = stripe.retrieve(PATH)

    assert answer.object == {"id": "sub_1"}
    assert [seconds for seconds in clock.slept if seconds > 0.1] == [0.5, 1.0]


def test_the_number_of_attempts_is_limited(stripe: Stripe, server: ScriptedStripe) -> None:
    server.answers(failure(500))

    with pytest.raises(StripeFailed):
        stripe.retrieve(PATH, deadline=1000)

    assert len(server.requests) == ATTEMPTS


def test_no_attempt_begins_after_the_deadline(stripe: Stripe, server: ScriptedStripe, clock: Clock) -> None:
    server.answers(failure(500))

    with pytest.raises(StripeFailed):
        stripe.retrieve(PATH, deadline=1.2)

    # The second pause lasts one second, so it would end after 1.5 seconds.
    assert len(server.requests) == 2
    assert clock.now <= 1000 + 1.2


def test_stripe_can_forbid_another_attempt(stripe: Stripe, server: ScriptedStripe) -> None:
    server.answers(failure(500, headers={"Stripe-Should-Retry": "false"}))

    with pytest.raises(StripeFailed):
        stripe.retrieve(PATH)

    assert len(server.requests) == 1


def test_a_server_that_never_answers_times_out(stripe: Stripe, server: ScriptedStripe) -> None:
    server.answers(Reply(hangs=True))

    with pytest.raises(TimedOut):
        stripe.retrieve(PATH, timeout=0.1, deadline=0.4)


def test_a_server_that_does_not_exist_is_unreachable(make_stripe: Callable[..., Stripe]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    stripe = make_stripe(base=f"http://127.0.0.1:{port}")

    with pytest.raises(Unreachable):
        stripe.retrieve(PATH)


@pytest.mark.parametrize(
    ("reason", "scope"),
    [
        ("global-rate", "account"),
        ("global-concurrency", "account"),
        ("endpoint-rate", OPERATION),
        ("resource-specific", OPERATION),
        (None, "account"),
    ],
)
def test_a_429_slows_the_operation_or_the_account_by_its_reason(
    stripe: Stripe, server: ScriptedStripe, logs: list[Any], reason: str | None, scope: str
) -> None:
    server.answers(failure(429, headers={"Stripe-Rate-Limited-Reason": reason} if reason else {}))

    with pytest.raises(RateLimited) as error:
        stripe.retrieve(PATH, deadline=0.1)

    assert error.value.ids["reason"] == (reason or "unknown")
    assert [line["scope"] for line in logs if line["event"] == "rate.slowed"] == [scope]


def test_a_lock_timeout_slows_nothing(stripe: Stripe, server: ScriptedStripe, logs: list[Any]) -> None:
    server.answers(failure(429, code="lock_timeout"))

    with pytest.raises(Locked):
        stripe.retrieve(PATH)

    assert "rate.slowed" not in [line["event"] for line in logs]


@pytest.mark.parametrize(
    ("reply", "kind", "mends"),
    [
        (failure(401, f"Invalid API Key provided: {KEY}"), BadKey, ["STRIPE_SECRET_KEY", "not a key", "dashboard"]),
        (failure(401, "Expired", code="api_key_expired"), BadKey, ["STRIPE_SECRET_KEY", "expired or was revoked"]),
        (failure(403, PERMISSION), MissingPermission, ["rak_subscription_read", OPERATION, "'subscription' to read"]),
        (failure(403, "No access", code="account_invalid"), MissingPermission, [OPERATION, "connected account"]),
        (failure(404, OTHER_MODE, code="resource_missing"), WrongMode, ["live mode", "test mode key"]),
        (failure(404, "Unrecognized request URL"), InvalidRequest, [OPERATION, "404"]),
        (failure(400, "jenny@example.com", code="parameter_unknown", param="x"), InvalidRequest, ["unknown, x"]),
        (Reply({}, 302, {"Location": "/v1/elsewhere"}), InvalidRequest, ["302", "STRIPE_API_BASE"]),
        (Reply(b"<html>jenny@example.com</html>", 400), InvalidRequest, ["400"]),
    ],
)
def test_a_request_that_cannot_succeed_names_its_fix_and_is_not_repeated(
    stripe: Stripe, server: ScriptedStripe, reply: Reply, kind: type[SyncError], mends: list[str]
) -> None:
    server.answers(reply)

    with pytest.raises(kind) as error:
        stripe.retrieve(PATH)

    message = f"{error.value} {error.value.ids}"
    assert isinstance(error.value, Permanent)
    assert all(word in message for word in mends)
    assert KEY not in message
    assert "rk_test" not in message
    assert "@" not in message
    assert len(server.requests) == 1


def test_a_missing_permission_is_an_attribute_of_the_error(stripe: Stripe, server: ScriptedStripe) -> None:
    server.answers(failure(403, PERMISSION))

    with pytest.raises(MissingPermission) as error:
        stripe.retrieve(PATH)

    assert error.value.permission == "rak_subscription_read"


def test_requests_are_counted_by_operation_and_outcome(stripe: Stripe, server: ScriptedStripe) -> None:
    def count(outcome: str) -> float:
        labels = {"operation": "GET /v1/coupons/{id}", "outcome": outcome}
        return REGISTRY.get_sample_value("stripe_sync_stripe_requests_total", labels) or 0

    before = {outcome: count(outcome) for outcome in ("ok", "500", "404", "malformed", "timed_out")}
    server.answers(
        failure(500),
        Reply(b"no"),
        Reply({"id": "c"}, takes=9),
        Reply({"id": "c"}),
        failure(404, code="resource_missing"),
    )

    stripe.retrieve("/v1/coupons/c")
    stripe.retrieve("/v1/coupons/c")

    assert {outcome: count(outcome) - was for outcome, was in before.items()} == dict.fromkeys(before, 1)


@pytest.mark.parametrize(
    ("path", "operation"),
    [
        ("/v1/subscriptions/sub_1", "GET /v1/subscriptions/{id}"),
        ("/v1/products", "GET /v1/products"),
        ("/v1/products/products", "GET /v1/products/{id}"),
        ("/v1/account", "GET /v1/account"),
        ("/v1/invoices/in_1/lines", "GET /v1/invoices/{id}/lines"),
        ("/v1/checkout/sessions/cs_1/line_items", "GET /v1/checkout/sessions/{id}/line_items"),
        ("/v1/customers/cus_1/tax_ids/txi_1", "GET /v1/customers/{id}/tax_ids/{id}"),
        ("/v1/subscriptions/search", "GET /v1/subscriptions/search"),
        ("/v1/tax/settings", "GET /v1/tax/settings"),
        ("/v1/entitlements/active_entitlements", "GET /v1/entitlements/active_entitlements"),
        ("/v2/core/events/evt_1", "GET /v2/core/events/{id}"),
    ],
)
def test_paths_with_different_ids_are_one_operation(path: str, operation: str) -> None:
    assert operation_of(path) == operation


def test_every_path_of_the_catalogue_is_a_separate_operation() -> None:
    known = {row.path for row in catalogue.lists().values()} | {
        row.url for row in catalogue.types().values() if row.url
    }

    named = {re.sub(r"\{[^}]*\}", "{id}", path): operation_of(re.sub(r"\{[^}]*\}", "id_1", path)) for path in known}

    assert len(named) > 100
    assert named == {path: f"GET {path}" for path in named}


def test_check_returns_the_account_of_the_key(stripe: Stripe, server: ScriptedStripe) -> None:
    server.answers(Reply({"id": "acct_1", "object": "account"}), page())

    check = stripe.check(["/v1/products"])

    assert (check.account, check.livemode, check.restricted, check.lacks) == ("acct_1", False, False, ())


def test_check_names_every_list_that_a_restricted_key_cannot_read(
    make_stripe: Callable[..., Stripe], server: ScriptedStripe
) -> None:
    no_products, no_account = (
        PERMISSION.replace("subscription", "product"),
        PERMISSION.replace("subscription", "account"),
    )
    server.answers(failure(403, no_account), failure(403, no_products), page(), failure(403, PERMISSION))

    check = make_stripe(key="rk_live_1").check(["/v1/products", "/v1/prices", "/v1/subscriptions"])

    assert (check.account, check.livemode, check.restricted) == ("", True, True)
    assert [missing.permission for missing in check.lacks] == ["rak_product_read", "rak_subscription_read"]


def test_check_fails_on_a_key_that_is_refused(stripe: Stripe, server: ScriptedStripe) -> None:
    server.answers(failure(401))

    with pytest.raises(BadKey):
        stripe.check()


def configured(**changes: Any) -> Settings:
    given = {"database_url": "postgresql://u@127.0.0.1/d", "redis_url": "redis://127.0.0.1:1/0"}
    return Settings(**{**given, "stripe_secret_key": SecretStr(KEY), **changes})


def test_without_a_key_no_client_is_made() -> None:
    with pytest.raises(BadKey, match="STRIPE_SECRET_KEY is not set"):
        Stripe.from_settings(configured(stripe_secret_key=None))


@pytest.mark.parametrize(
    "base", ["http://api.stripe.com", "http://10.0.0.1:12111", "ftp://127.0.0.1", "api.stripe.com"]
)
def test_a_key_is_not_sent_unencrypted(base: str) -> None:
    with pytest.raises(ConfigError, match="STRIPE_API_BASE"):
        Stripe.from_settings(configured(stripe_api_base=base))


@pytest.mark.parametrize(
    "base", ["https://api.stripe.com", "http://127.0.0.1:1/", "http://localhost:1", "http://[::1]:1"]
)
def test_no_connection_is_made_before_the_first_request(base: str) -> None:
    Stripe.from_settings(configured(stripe_api_base=base)).close()


def test_error_classes_tell_which_errors_to_retry() -> None:
    assert all(issubclass(kind, Temporary) for kind in (Unreachable, StripeFailed, Locked, CursorGone, RateLimited))
    assert all(issubclass(kind, Permanent) for kind in (BadKey, MissingPermission, WrongMode, InvalidRequest))
