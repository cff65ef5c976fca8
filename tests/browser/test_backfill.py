"""In the browser, an operator starts a backfill, watches its progress, and reads one object from Stripe again."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests import sandboxes
from tests.backends import Backend
from tests.browser.conftest import PASSWORD, sign_in
from tests.processes import Daemon, eventually
from tests.sandboxes import Sandbox

pytestmark = pytest.mark.system


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with sandboxes.running(seed=1) as sandbox:
        sandbox.tell("populate", customers=7)
        yield sandbox


@pytest.fixture(scope="module")
def console(
    backend: Backend, template: str, sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Daemon]:
    database = backend.create_database("browser_backfill", template=template)
    daemon = Daemon(
        database,
        backend.redis_url,
        tmp_path_factory.mktemp("logs"),
        CONSOLE_PASSWORD=PASSWORD,
        CONSOLE_WRITE="on",
        STRIPE_SECRET_KEY=sandbox.tell("keys", deny=["invoice"])["key"],
        STRIPE_API_BASE=sandbox.address,
    )
    daemon.start_web()
    daemon.start("worker")
    yield daemon
    daemon.stop()
    backend.drop_database("browser_backfill")


def test_a_backfill_is_started_and_watched(page: Any, console: Daemon) -> None:
    sign_in(page)

    page.get_by_role("link", name="Backfill").click()
    page.get_by_label("Lists, separated by spaces").fill("customers invoices")
    page.get_by_role("button", name="Start").click()
    page.get_by_role("button", name="Yes, start a backfill").click()

    assert "has started" in page.get_by_role("status").inner_text()
    customers = page.get_by_role("row").filter(has=page.get_by_role("rowheader", name="customers", exact=True))
    customers.filter(has_text="done").wait_for()  # the page refreshes itself
    assert customers.get_by_role("cell").nth(2).inner_text() == "7"
    errors = page.get_by_role("region", name="Errors")
    errors.get_by_role("row").filter(has_text="invoices").filter(has_text="rak_invoice_read").wait_for()
    assert console.count("select count(*) from mirror.customers") == 7


def test_an_object_is_read_from_stripe_again(page: Any, sandbox: Sandbox, console: Daemon) -> None:
    customer = sandbox.get("/v1/customers")["data"][0]["id"]
    mirrored = f"select count(*) from mirror.customers where id = '{customer}' and data ->> 'name' = 'Another'"
    with console.connection() as connection:
        connection.request("POST", f"/v1/objects/{customer}/sync", headers={"authorization": "Bearer token"})
        assert connection.getresponse().status == 200
    sandbox.post(f"/v1/customers/{customer}", name="Another")
    sign_in(page)

    page.goto(f"/console/objects/{customer}")
    page.get_by_role("button", name="Read from Stripe now").click()
    page.get_by_role("button", name="Yes, read from stripe").click()

    assert f"A worker reads {customer}" in page.get_by_role("status").inner_text()
    eventually(lambda: console.count(mirrored) == 1)
