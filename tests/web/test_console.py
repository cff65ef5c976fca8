"""The console over HTTP: sign-in, pages, and actions, which need a session, a form token and permission."""

import hashlib
import os
import re
from collections.abc import Callable, Iterator
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlencode

import psycopg
import pytest
from pydantic import SecretStr

from tests.backends import Backend
from tests.processes import Daemon, eventually
from worker.config.settings import AppEnv, Settings
from worker.web.console import read_catalogue, session
from worker.web.console.session import Attempts, Sessions, hash_password

pytestmark = pytest.mark.system

PASSWORD = "correct horse battery"
PAGES = (
    "/console/",
    "/console/inbox",
    "/console/users",
    "/console/objects",
    "/console/catalogue",
    "/console/revenue",
    "/console/backfill",
    "/console/settings",
)
HOSTILE = "<script>alert(1)</script>\u202e\u200f\"'><img src=x onerror=alert(1)>"
LONG = (HOSTILE * 200)[:10_000]


class Browser:
    """A client that keeps the session's cookie, as a browser does."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        self.cookie = ""
        self.headers: dict[str, str] = {}

    def get(self, path: str) -> tuple[int, str]:
        return self._send("GET", path, None)

    def post(self, path: str, **fields: str) -> tuple[int, str]:
        return self._send("POST", path, urlencode(fields))

    def sign_in(self, password: str = PASSWORD) -> int:
        return self.post("/console/sign-in", password=password)[0]

    def csrf(self) -> str:
        return str(re.findall(r'name="csrf" value="([0-9a-f]+)"', self.get("/console/settings")[1])[0])

    def _send(self, method: str, path: str, body: str | None) -> tuple[int, str]:
        with self._daemon.connection() as connection:
            assert isinstance(connection, HTTPConnection)
            headers = {"cookie": self.cookie}
            if body is not None:
                headers["content-type"] = "application/x-www-form-urlencoded"
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            self.headers = {name.lower(): value for name, value in answer.getheaders()}
            if cookie := self.headers.get("set-cookie"):
                self.cookie = cookie.split(";")[0]
            return answer.status, answer.read().decode()


Start = Callable[..., Daemon]


@pytest.fixture(scope="module")
def start(backend: Backend, template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Start]:
    """A web process with these settings and its own database."""
    started: dict[str, Daemon] = {}

    def run(**env: str) -> Daemon:
        name = f"console_{os.getpid()}_{len(started)}"
        database = backend.create_database(name, template=template)
        started[name] = daemon = Daemon(database, backend.redis_url, tmp_path_factory.mktemp("logs"), **env)
        daemon.start_web()
        return daemon

    yield run
    for name, daemon in started.items():
        daemon.stop()
        backend.drop_database(name)


@pytest.fixture(scope="module")
def daemon(start: Start) -> Daemon:
    return start(CONSOLE_PASSWORD=PASSWORD, CONSOLE_WRITE="on")


@pytest.fixture
def browser(daemon: Daemon) -> Browser:
    browser = Browser(daemon)
    assert browser.sign_in() == 303
    return browser


@pytest.mark.parametrize("page", PAGES)
def test_a_page_without_a_session_redirects_to_the_sign_in(daemon: Daemon, page: str) -> None:
    stranger = Browser(daemon)

    status, _ = stranger.get(page)

    assert status == 303
    assert stranger.headers["location"].startswith("/console/sign-in")


def test_a_wrong_password_is_refused_and_the_next_attempt_must_wait(start: Start) -> None:
    stranger = Browser(start(CONSOLE_PASSWORD=PASSWORD))

    answers = [stranger.sign_in("wrong password") for _ in range(6)]

    assert answers == [401] * 5 + [429]
    assert stranger.cookie == ""


def test_a_page_forbids_scripts_frames_and_caches(browser: Browser) -> None:
    browser.get("/console/")

    policy = browser.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert browser.headers["x-frame-options"] == "DENY"
    assert browser.headers["cache-control"] == "no-store"


def test_the_cookie_is_hidden_from_scripts_and_other_sites(daemon: Daemon) -> None:
    browser = Browser(daemon)
    browser.sign_in()

    assert "HttpOnly" in browser.headers["set-cookie"]
    assert "SameSite=strict" in browser.headers["set-cookie"]
    assert "Path=/console" in browser.headers["set-cookie"]


def test_the_cookie_is_secure_outside_development(settings: Settings) -> None:
    settings = settings.model_copy(update={"console_password": SecretStr(PASSWORD)})
    production = settings.model_copy(update={"app_env": AppEnv.PRODUCTION})

    assert [Sessions(each).is_cookie_secure for each in (settings, production)] == [False, True]


def test_a_session_ends_when_it_expires_or_the_password_changes(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    sessions, others = (
        Sessions(settings.model_copy(update={"console_password": SecretStr(each)})) for each in (PASSWORD, "a new one")
    )
    cookie = sessions.start()
    signed_in = [each.read(cookie) is not None for each in (sessions, others)]
    monkeypatch.setattr(session, "SESSION_SECONDS", -1)

    assert signed_in == [True, False]
    assert sessions.read(cookie) is None


def test_guesses_from_many_addresses_have_to_wait_too() -> None:
    attempts = Attempts()

    for number in range(50):
        assert attempts.seconds_to_wait("192.0.2.1") == 0
        attempts.failed(f"198.51.100.{number}")

    assert 295 < attempts.seconds_to_wait("192.0.2.1") <= 301


def test_a_forged_cookie_opens_nothing(daemon: Daemon) -> None:
    stranger = Browser(daemon)
    stranger.cookie = "stripe_sync_console=InNlc3Npb24i.aaaa.bbbb"

    assert stranger.get("/console/")[0] == 303


@pytest.mark.parametrize("page", PAGES)
def test_a_signed_in_browser_sees_the_page(browser: Browser, page: str) -> None:
    status, text = browser.get(page)

    assert status == 200
    assert "<h1>" in text


def test_an_action_without_the_form_token_is_refused(browser: Browser, daemon: Daemon) -> None:
    status, _ = browser.post("/console/inbox/replay", ids="evt_forged", confirmed="yes")

    assert status == 403
    assert daemon.count("select count(*) from sync.audit_log where target = 'evt_forged'") == 0


def test_a_token_of_another_session_is_refused(browser: Browser, daemon: Daemon) -> None:
    other = Browser(daemon)
    other.sign_in()

    assert browser.post("/console/inbox/replay", ids="evt_1", confirmed="yes", csrf=other.csrf())[0] == 403


def test_an_action_is_confirmed_first(browser: Browser, daemon: Daemon) -> None:
    store(daemon, "evt_confirmed", status="parked")

    status, text = browser.post("/console/inbox/replay", ids="evt_confirmed", csrf=browser.csrf())

    assert status == 200
    assert "Make 1 event due again" in text
    assert state(daemon, "evt_confirmed") == "parked"


def test_replaying_a_parked_event_is_recorded_in_the_audit_log(browser: Browser, daemon: Daemon) -> None:
    store(daemon, "evt_parked", status="parked")

    status, _ = browser.post("/console/inbox/replay", ids="evt_parked", csrf=browser.csrf(), confirmed="yes")

    assert status == 303
    assert state(daemon, "evt_parked") == "pending"
    with psycopg.connect(daemon.database_url) as conn:
        rows = conn.execute("select action, target from sync.audit_log where target = 'evt_parked'").fetchall()
    assert rows == [("events.replay", "evt_parked")]


def test_a_hostile_name_is_escaped_on_every_page(browser: Browser, daemon: Daemon) -> None:
    with psycopg.connect(daemon.database_url, autocommit=True) as conn:
        conn.execute(
            "insert into users (id, email, name) values (%s, %s, %s) on conflict do nothing",
            ("hostile", HOSTILE, LONG),
        )
        conn.execute("insert into stripe_products (id, name, active) values ('prod_x', %s, true)", (LONG,))
    store(daemon, "evt_hostile", type_=HOSTILE, error=LONG)

    pages = [
        browser.get(path)[1]
        for path in (
            "/console/users",
            "/console/users/hostile",
            "/console/catalogue",
            "/console/inbox",
            "/console/inbox/evt_hostile",
        )
    ]

    for page in pages:
        assert "<script>alert" not in page
        assert "<img src=x" not in page
        assert "\u202e" not in page
        assert "\u200f" not in page
    assert "&lt;script&gt;" in pages[0]


def test_an_unknown_user_object_or_event_is_404(browser: Browser) -> None:
    answers = [browser.get(f"/console/{path}/nothing_here")[0] for path in ("users", "objects", "inbox")]

    assert answers == [404, 404, 404]


def test_a_backfill_is_started_joined_and_stopped(start: Start) -> None:
    daemon = start(
        CONSOLE_PASSWORD=PASSWORD,
        CONSOLE_WRITE="on",
        STRIPE_SECRET_KEY="sk_test_1",
        STRIPE_API_BASE="http://127.0.0.1:9",
    )
    browser = Browser(daemon)
    browser.sign_in()
    sent = {"csrf": browser.csrf(), "confirmed": "yes", "back": "/console/backfill"}

    unknown = browser.post("/console/backfill/start", lists="customers nothing", **sent)
    begun = browser.post("/console/backfill/start", lists="customers, invoices", **sent)[0]
    joined = browser.post("/console/backfill/start", lists="products", **sent)[0]
    other = browser.post("/console/backfill/start", lists="customers", account="acct_1", **sent)
    page = browser.get("/console/backfill")[1]
    stopped = browser.post("/console/backfill/stop", **sent)[0]
    again = browser.post("/console/backfill/stop", **sent)

    assert (begun, joined, stopped) == (303, 303, 303)
    assert (unknown[0], other[0], again[0]) == (409, 409, 409)
    assert "Stripe has no list nothing" in unknown[1]
    assert "a backfill of your own account" in other[1]
    assert "0 of 5" in page
    assert "5 lists wait" in page
    assert "An operator stopped it." in browser.get("/console/backfill")[1]


def test_the_url_of_the_stylesheet_changes_with_its_content(daemon: Daemon) -> None:
    stranger = Browser(daemon)

    (address,) = re.findall(r'href="(/console/static/console\.css[^"]*)"', stranger.get("/console/sign-in")[1])
    status, text = stranger.get(address)

    assert status == 200
    assert address.endswith(f"?v={hashlib.sha256(text.encode()).hexdigest()[:12]}")
    assert stranger.headers["cache-control"] == "public, max-age=86400"


def test_the_sign_in_does_not_redirect_outside_the_console(daemon: Daemon) -> None:
    browser = Browser(daemon)

    browser.post("/console/sign-in?next=https%3A%2F%2Fevil.example", password=PASSWORD)

    assert browser.headers["location"] == "/console"


def test_secrets_are_masked_on_the_settings_page(browser: Browser, daemon: Daemon) -> None:
    _, text = browser.get("/console/settings")

    assert PASSWORD not in text
    assert "whsec_test" not in text
    assert ">token<" not in text


def test_signing_out_ends_the_session(browser: Browser) -> None:
    status, _ = browser.post("/console/sign-out", csrf=browser.csrf())

    assert status == 303
    assert browser.get("/console/")[0] == 303


def test_the_console_runs_alone_and_takes_no_webhooks(backend: Backend, database: str, tmp_path: Path) -> None:
    daemon = Daemon(database, backend.redis_url, tmp_path, CONSOLE_PASSWORD=PASSWORD)
    daemon.start("console", "serve")
    eventually(lambda: answers(daemon))
    browser = Browser(daemon)

    signed_in = browser.sign_in()
    page = browser.get("/console/")
    webhook = browser.post("/webhooks/stripe")[0]
    daemon.stop()

    assert (signed_in, page[0], webhook) == (303, 200, 404)
    assert "<h1>Health</h1>" in page[1]


def answers(daemon: Daemon) -> bool:
    try:
        return daemon.get("/healthz")[0] == 200
    except OSError:
        return False


def test_the_users_of_a_frequent_product_are_estimated_if_there_are_many_users(conn: psycopg.Connection) -> None:
    conn.execute(
        "insert into stripe_products (id, name, active) values ('prod_often', 'A', true), ('prod_never', 'B', true)"
    )
    conn.execute(
        "insert into users (id, email, stripe_product_id) select n, n || '@x', 'prod_often' from generate_series(1, 300) n"
    )
    conn.execute("analyze users")

    exact = [(row["users"], row["is_estimate"]) for row in read_catalogue.products(conn)]
    estimated = [(row["users"], row["is_estimate"]) for row in read_catalogue.products(conn, counted=299)]

    assert exact == [(300, False), (0, False)]
    assert estimated == [(300, True), (0, False)]


def test_without_a_password_there_is_no_console(start: Start) -> None:
    daemon = start()

    assert daemon.get("/console/sign-in")[0] == 404


def test_a_read_only_console_refuses_every_action(start: Start) -> None:
    daemon = start(CONSOLE_PASSWORD_HASH=hash_password(PASSWORD))
    browser = Browser(daemon)
    store(daemon, "evt_1", status="parked")

    signed_in = browser.sign_in()
    status, text = browser.post("/console/inbox/replay", ids="evt_1", csrf=browser.csrf(), confirmed="yes")

    assert (signed_in, status, state(daemon, "evt_1")) == (303, 403, "parked")
    assert "CONSOLE_WRITE" in text
    assert "Replay" not in browser.get("/console/inbox")[1]


def store(
    daemon: Daemon, id_: str, *, status: str = "done", type_: str = "invoice.paid", error: str | None = None
) -> None:
    with psycopg.connect(daemon.database_url, autocommit=True) as conn:
        conn.execute(
            """
            insert into sync.events (id, type, object_type, object_id, livemode, created, body, status, last_error)
            values (%s, %s, 'invoice', 'in_1', false, now(), '{"data": {"object": {"id": "in_1"}}}', %s, %s)
            """,
            (id_, type_, status, error),
        )


def state(daemon: Daemon, id_: str) -> str:
    with psycopg.connect(daemon.database_url) as conn:
        row = conn.execute("select status from sync.events where id = %s", (id_,)).fetchone()
    assert row is not None
    return str(row[0])
