"""Operators and support staff use the console in a real browser."""

import os
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.browser import world
from tests.browser.conftest import sign_in
from tests.processes import Daemon, eventually

pytestmark = pytest.mark.system

PAGES = {
    "health": "/console/",
    "inbox": "/console/inbox",
    "event": "/console/inbox/evt_parked_1",
    "users": "/console/users",
    "user": "/console/users/ann",
    "hostile user": "/console/users/hostile",
    "objects": "/console/objects",
    "object": "/console/objects/sub_ann",
    "catalogue": "/console/catalogue",
    "plan": "/console/catalogue/plan",
    "revenue": "/console/revenue",
    "backfill": "/console/backfill",
    "settings": "/console/settings",
    "not found": "/console/users/nobody",
}
LOOKS = [(scheme, width) for scheme in ("light", "dark") for width in (1280, 390)]
# Colours and widths are independent, so axe checks each colour scheme and each width once.
CHECKED = (LOOKS[0], LOOKS[3])
# How far the content moved since the page began to load.
LAYOUT_SHIFT = """
async () => {
    let moved = 0;
    const add = entries => entries.forEach(entry => { moved += entry.value; });
    const observer = new PerformanceObserver(list => add(list.getEntries()));
    observer.observe({type: "layout-shift", buffered: true});
    await new Promise(resolve => requestAnimationFrame(() => requestAnimationFrame(resolve)));
    add(observer.takeRecords());
    return moved;
}
"""
# A folder for screenshots of every page, for review.
SCREENSHOTS = os.environ.get("TEST_SCREENSHOTS")


def test_support_finds_why_a_user_lost_access(page: Any) -> None:
    sign_in(page)

    page.get_by_role("link", name="Users").click()
    page.get_by_label("E-mail, user id or Stripe customer").fill("ben@example.com")
    page.get_by_role("button", name="Search").click()
    page.get_by_role("link", name="ben").click()

    text = page.get_by_role("main").inner_text()
    assert "CANCELED" in text
    assert "sub_ben" in text


def test_an_operator_replays_a_group_of_parked_events(page: Any, console: Daemon) -> None:
    sign_in(page)

    page.get_by_role("link", name="Inbox").click()
    page.get_by_role("button", name="Replay all of customer.updated").click()
    page.get_by_role("button", name="Yes, replay events").click()

    assert "2 events are due again." in page.get_by_role("status").inner_text()
    eventually(
        lambda: console.count("select count(*) from sync.events where id like 'evt_parked%' and status = 'done'") == 2
    )


def test_an_operator_previews_and_applies_a_plan(page: Any, console: Daemon) -> None:
    with psycopg.connect(console.database_url, autocommit=True) as conn:
        conn.execute("update users set role = 'USER' where id = 'ann'")
    sign_in(page)

    page.get_by_role("link", name="Catalogue").click()
    page.get_by_role("link", name="What would change for users?").click()
    changes = page.get_by_role("row").filter(has=page.get_by_role("link", name="ann", exact=True))
    previewed = changes.get_by_role("cell").inner_text()
    page.get_by_role("button", name="Apply to all users").click()
    page.get_by_role("button", name="Yes, apply to all users").click()

    assert previewed == "role: USER PREMIUM"
    eventually(lambda: console.count("select count(*) from users where id = 'ann' and role = 'PREMIUM'") == 1)


def test_an_operator_gives_a_feature_and_takes_it_back(page: Any) -> None:
    sign_in(page)

    page.goto("/console/users/ben")
    page.get_by_label("Give a feature").fill("export")
    page.get_by_role("button", name="Give the feature").click()
    page.get_by_role("button", name="Yes, give the feature").click()
    given = page.get_by_text("export: An operator gave it.").count()
    page.get_by_role("button", name="Take back export").click()
    page.get_by_role("button", name="Yes, take back the feature").click()

    assert given == 1
    assert page.get_by_text("export: An operator gave it.").count() == 0


def test_a_wrong_password_is_reported(page: Any) -> None:
    page.goto("/console/sign-in")

    page.get_by_label("Password").fill("not the password")
    page.get_by_role("button", name="Sign in").click()

    assert page.get_by_role("alert").inner_text() == "This is not the password."


def test_signing_in_after_an_expired_session_returns_to_the_page(page: Any) -> None:
    sign_in(page)
    page.context.clear_cookies()

    page.goto("/console/users/ann")
    page.get_by_label("Password").fill("correct horse battery")
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/console/users/ann")

    assert page.get_by_role("heading", level=1).inner_text() == "ann@example.com"


def test_the_console_works_with_the_keyboard_alone(page: Any) -> None:
    page.goto("/console/sign-in")
    # The browser focuses the field when it next paints, which can be after the page has loaded.
    page.locator("#password:focus").wait_for()
    page.keyboard.type("correct horse battery")
    page.keyboard.press("Enter")
    page.get_by_role("navigation").wait_for()

    page.keyboard.press("Tab")
    page.keyboard.press("Enter")

    assert page.evaluate("document.activeElement.id") == "main"


def test_the_health_page_refreshes_itself(page: Any, console: Daemon) -> None:
    sign_in(page)
    with page.expect_response(lambda answer: answer.request.headers.get("hx-request") == "true"):
        page.evaluate("document.body.dispatchEvent(new Event('refresh'))")

    assert page.get_by_role("heading", name="Health").count() == 1


@pytest.fixture(scope="module")
def full(console: Daemon) -> None:
    world.fill(console.database_url)


@pytest.mark.parametrize("page", LOOKS, indirect=True, ids=lambda look: f"{look[0]}-{look[1]}")
@pytest.mark.usefixtures("full")
def test_every_page_fits_and_is_accessible(page: Any) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    # No part refreshes itself while axe reads the page.
    page.add_init_script("window.setInterval = () => 0")
    width = page.viewport_size["width"]
    scheme = "dark" if page.evaluate("matchMedia('(prefers-color-scheme: dark)').matches") else "light"
    problems: dict[str, Any] = {}

    def examine(name: str) -> None:
        if (shift := page.evaluate(LAYOUT_SHIFT)) > 0.1:
            problems[name] = f"moves while it loads: {shift}"
        for narrowed in (width, 360):
            page.set_viewport_size({"width": narrowed, "height": 900})
            page.wait_for_function(f"innerWidth === {narrowed}")  # a busy browser resizes a little later
            if page.evaluate("document.documentElement.scrollWidth") > narrowed:
                problems[name] = f"is wider than {narrowed} pixels"
            if SCREENSHOTS and (narrowed == width or width == 390):
                page.screenshot(path=Path(SCREENSHOTS) / f"{name}-{narrowed}-{scheme}.png", full_page=True)
        page.set_viewport_size({"width": width, "height": 900})
        violations = axe.run(page).response["violations"] if (scheme, width) in CHECKED else []
        if violations:
            problems[name] = [
                (violation["id"], [node["target"] for node in violation["nodes"]]) for violation in violations
            ]

    page.goto("/console/sign-in")
    examine("sign in")
    sign_in(page)
    for name, address in PAGES.items():
        page.goto(address)
        examine(name)
    page.goto("/console/users/ann")
    page.get_by_role("button", name="Override").click()
    examine("confirm")

    assert problems == {}
