"""If an application's token column is an int4, a balance that does not fit is capped and reported."""

import json
from collections.abc import Callable

import structlog

from tests.adoption.applications import BY_HAND
from tests.adoption.conftest import Application, Run
from tests.adoption.test_adopt import sign_up
from tests.factories import event, product
from worker.membership.rules.access import Policy
from worker.membership.why import why

New = Callable[[str], Application]

MOST = 2_147_483_647


def test_a_balance_is_capped_by_an_int4_column_and_reported(application: New, run: Run) -> None:
    app = application(BY_HAND.replace("tokens bigint", "tokens integer"))
    app.adopt()
    conn = app.daemon()
    large = event("product.created", product(tokens="3000000000"))

    with structlog.testing.capture_logs() as logs:
        app.apply(large, *sign_up()[1:])
    explained = why(conn, "jenny", Policy())
    findings = [row for row in json.loads(run("doctor", "--json").stdout) if row["what"] == "users.tokens"]

    assert app.sql("select pg_typeof(tokens)::text, tokens from users where id = 'jenny'") == [("integer", MOST)]
    assert app.sql("select balance_before, balance_after from sync.token_grants where user_id = 'jenny'") == [(0, MOST)]
    assert [(log["object_id"], log["tokens"]) for log in logs if log["event"] == "user.tokens_capped"] == [
        ("jenny", MOST)
    ]
    assert explained is not None
    assert (
        "this is the largest possible balance, because the application's column is smaller" in explained.tokens.because
    )
    assert explained.tokens.stored - explained.tokens.spent == MOST
    assert "1 users reached it" in findings[0]["detail"]
