"""A real Chromium on the console of a real daemon. Without Chromium or Playwright these tests are skipped."""

import os
import shutil
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from tests import factories
from tests.backends import Backend
from tests.processes import Daemon, deliver

PASSWORD = "correct horse battery"
CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)


@pytest.fixture(scope="package")
def chromium() -> Iterator[Any]:
    """A headless browser, started once."""
    driver = pytest.importorskip("playwright.sync_api", reason="playwright is not installed; .ci/run installs it")
    if CHROMIUM is None:
        pytest.skip("no Chromium is on the PATH; .ci/run installs it")
    with driver.sync_playwright() as playwright:
        # Chromium refuses to start with its sandbox as root.
        options = ["--no-sandbox"] if os.getuid() == 0 else []
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=options)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def console(backend: Backend, template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """Web and worker with the console and a few rows: paying users, one who canceled, and parked events."""
    database = backend.create_database("browser", template=template)
    daemon = Daemon(
        database, backend.redis_url, tmp_path_factory.mktemp("logs"), CONSOLE_PASSWORD=PASSWORD, CONSOLE_WRITE="on"
    )
    daemon.start_web()
    daemon.start("worker")
    fill(daemon)
    yield daemon
    daemon.stop()
    backend.drop_database("browser")


@pytest.fixture
def page(chromium: Any, console: Daemon, request: pytest.FixtureRequest) -> Iterator[Any]:
    """A page in a fresh browser profile. The test fails on console errors and on requests to another host."""
    scheme, width = getattr(request, "param", ("light", 1280))
    address = f"http://127.0.0.1:{console.port}"
    context = chromium.new_context(base_url=address, color_scheme=scheme, viewport={"width": width, "height": 900})
    context.set_default_timeout(10_000)
    opened = context.new_page()
    faults: list[str] = []
    opened.on("console", lambda line: faults.append(line.text) if line.type == "error" else None)
    opened.on("pageerror", lambda error: faults.append(str(error)))
    opened.on("request", lambda sent: faults.append(sent.url) if not sent.url.startswith(address) else None)
    opened.faults = faults
    yield opened
    context.close()
    # A browser also logs a line for each response with an error status. Some tests expect a status of 4xx.
    assert [fault for fault in faults if "status of 4" not in fault] == []


def sign_in(page: Any) -> None:
    page.goto("/console/sign-in")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("navigation").wait_for()


def fill(daemon: Daemon) -> None:
    """Ann pays, Ben has canceled, and two events are parked for the same reason."""
    with psycopg.connect(daemon.database_url, autocommit=True) as conn:
        for user in ("ann", "ben"):
            conn.execute("insert into users (id, email) values (%s, %s)", (user, f"{user}@example.com"))
    events = [factories.event("product.created", factories.product(metadata={"tokens": "5000"}))]
    for user, status in (("ann", "active"), ("ben", "canceled")):
        customer = factories.customer(f"cus_{user}", user_id=user)
        subscription = factories.subscription(f"sub_{user}", customer=f"cus_{user}", status=status)
        events.append(factories.event("customer.created", customer))
        events.append(factories.event("customer.subscription.updated", subscription))
    with daemon.connection() as connection:
        for event in events:
            assert deliver(connection, factories.encoded(event))[0] == 200
    daemon.wait_until_applied()
    with psycopg.connect(daemon.database_url, autocommit=True) as conn:
        for number in (1, 2):
            event = factories.event("customer.updated", customer, id=f"evt_parked_{number}")
            body = factories.encoded(event).decode()
            conn.execute(
                """
                insert into sync.events
                    (id, type, object_type, object_id, livemode, created, body, status, outcome, attempts, last_error)
                values (%s, 'customer.updated', 'customer', 'cus_ann', false, now(), %s, 'parked', 'parked', 8,
                    'CheckViolation: a trigger of the application refused the row')
                """,
                (f"evt_parked_{number}", body),
            )
