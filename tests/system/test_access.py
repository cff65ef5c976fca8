"""A user's access, read over HTTP, by a task and from Python, while Stripe answers, hangs or refuses."""

import itertools
import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psycopg
import pytest
import redis
from celery import Celery

from tests import sandboxes
from tests.backends import Backend
from tests.factories import Json
from tests.processes import Daemon, eventually
from tests.sandboxes import Sandbox
from worker.on_access.answer import MOST_QUESTIONS, MOST_SLOW_READS

pytestmark = pytest.mark.system

LIST = "GET /v1/subscriptions"
TOKEN = {"authorization": "Bearer token"}
_numbers = itertools.count()


@pytest.fixture(scope="module")
def _stripe() -> Iterator[Sandbox]:
    """A sandbox whose deliveries never arrive."""
    with sandboxes.running() as running:
        yield running


@pytest.fixture(scope="module")
def daemon(
    backend: Backend, template: str, _stripe: Sandbox, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Daemon]:
    with redis.Redis.from_url(backend.redis_url) as client:
        client.flushall()
    database = backend.create_database("on_access", template=template)
    daemon = Daemon(
        database,
        backend.redis_url,
        tmp_path_factory.mktemp("logs"),
        STRIPE_SECRET_KEY=sandboxes.KEY,
        STRIPE_API_BASE=_stripe.address,
    )
    daemon.start_web()
    yield daemon
    daemon.stop()
    backend.drop_database("on_access")


@pytest.fixture
def sandbox(_stripe: Sandbox, daemon: Daemon, backend: Backend) -> Iterator[Sandbox]:
    """The sandbox. After the test, its faults are cleared, running reads have ended, and the rate limit is reset."""
    yield _stripe
    _stripe.tell("faults", clear=True)
    eventually(lambda: questions(daemon) == 0)
    with redis.Redis.from_url(backend.redis_url) as client:
        client.flushall()


@pytest.fixture
def sign_up(daemon: Daemon, sandbox: Sandbox) -> Callable[..., Json]:
    """Let a user pay while the deliveries are lost. The application knows the customer unless `known` is false."""

    def play(*, known: bool = True, link: str = "metadata") -> Json:
        user = f"user_{next(_numbers)}"
        ids: Json = sandbox.tell("stories/sign_up", user_id=user, link=link)["ids"]
        with psycopg.connect(daemon.database_url, autocommit=True) as conn:
            conn.execute("insert into users (id, email) values (%s, %s)", (user, f"{user}@example.com"))
            if known:
                conn.execute(
                    "insert into stripe_customers (user_id, stripe_customer_id) values (%s, %s)",
                    (user, ids["customer"]),
                )
        return ids

    return play


def ask(daemon: Daemon, user: str, query: str = "") -> tuple[int, Json]:
    status, body = daemon.get(f"/v1/users/{user}/access{query}", **TOKEN)
    return status, json.loads(body)


def force(daemon: Daemon, user: str, body: object = None) -> tuple[int, Json]:
    sent = None if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
    with daemon.connection() as connection:
        connection.request("POST", f"/v1/users/{user}/sync", sent, TOKEN)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())


def questions(daemon: Daemon) -> float:
    """The number of users that the web process is reading from Stripe now."""
    shown = daemon.get("/metrics", **TOKEN)[1]
    return float(
        next(line for line in shown.splitlines() if line.startswith("stripe_sync_access_questions ")).split()[1]
    )


def requests(sandbox: Sandbox) -> dict[str, int]:
    asked: dict[str, int] = sandbox.ask("stats")["requests"]
    return asked


def test_stripe_is_read_for_an_old_answer_but_not_for_a_fresh_one(
    daemon: Daemon, sandbox: Sandbox, sign_up: Callable[..., Json]
) -> None:
    ids = sign_up()

    first = ask(daemon, ids["user_id"])
    before = requests(sandbox)
    second = ask(daemon, ids["user_id"])
    third = ask(daemon, ids["user_id"], "?max_age=3600")

    assert first[0] == 200
    assert first == second == third
    assert requests(sandbox) == before
    synced_at = first[1].pop("synced_at")
    assert synced_at is not None
    assert first[1] | {"subscription": None, "tokens_expires_at": None, "product": None, "tokens": None} == {
        "has_access": True,
        "role": "PREMIUM",
        "membership_status": "ACTIVE",
        "features": [],
        "product": None,
        "subscription": None,
        "tokens": None,
        "tokens_expires_at": None,
        "stale": False,
    }
    assert first[1]["product"]["id"] == ids["product"]
    assert first[1]["subscription"]["id"] == ids["subscription"]


def test_an_undelivered_cancellation_is_found_once_the_stored_answer_is_too_old(
    daemon: Daemon, sandbox: Sandbox, sign_up: Callable[..., Json]
) -> None:
    ids = sign_up()
    paid = ask(daemon, ids["user_id"])[1]
    sandbox.tell("clock", advance=60)
    sandbox.delete(f"/v1/subscriptions/{ids['subscription']}")

    within = ask(daemon, ids["user_id"], "?max_age=3600")[1]
    after = ask(daemon, ids["user_id"], "?max_age=0")[1]

    assert (paid["has_access"], within["has_access"]) == (True, True)
    assert (after["has_access"], after["role"], after["membership_status"]) == (False, "USER", "CANCELED")
    assert (after["product"], after["subscription"], after["stale"]) == (None, None, False)
    assert after["synced_at"] > paid["synced_at"]


def test_a_post_always_reads_stripe(daemon: Daemon, sandbox: Sandbox, sign_up: Callable[..., Json]) -> None:
    ids = sign_up()
    first = force(daemon, ids["user_id"])
    before = requests(sandbox)[LIST]

    second = force(daemon, ids["user_id"], {})

    assert (first[0], second[0]) == (200, 200)
    assert first[1]["has_access"]
    assert requests(sandbox)[LIST] == before + 1
    assert second[1]["synced_at"] > first[1]["synced_at"]


def test_the_checkout_redirect_links_a_new_customer_and_grants_access_and_tokens(
    daemon: Daemon, sandbox: Sandbox, sign_up: Callable[..., Json]
) -> None:
    ids = sign_up(known=False, link="session")

    plain = force(daemon, ids["user_id"])
    named = force(daemon, ids["user_id"], {"checkout_session": ids["checkout_session"]})

    assert (plain[0], plain[1]["has_access"]) == (200, False)
    assert (named[0], named[1]["has_access"], named[1]["stale"]) == (200, True, False)
    assert named[1]["product"] == {"id": ids["product"], "name": "Pro"}
    assert named[1]["tokens"] == 5000


def test_another_user_s_session_is_refused(daemon: Daemon, sign_up: Callable[..., Json]) -> None:
    ids, other = sign_up(known=False, link="session"), sign_up(known=False, link="session")

    status, answer = force(daemon, ids["user_id"], {"checkout_session": other["checkout_session"]})

    assert (status, answer["code"]) == (409, "conflict")
    assert "another user" in answer["message"] or "names no user" in answer["message"]


def test_the_stored_answer_is_returned_if_stripe_hangs(
    daemon: Daemon, sandbox: Sandbox, sign_up: Callable[..., Json]
) -> None:
    ids = sign_up()
    paid = ask(daemon, ids["user_id"])[1]
    sandbox.tell("faults", operation=LIST, hang=True)

    # Stripe still hangs. The reads continue, but the answers are returned without waiting for them.
    old = ask(daemon, ids["user_id"], "?max_age=0")
    still_asking = questions(daemon)
    forced = force(daemon, ids["user_id"])

    assert still_asking == 1
    assert questions(daemon) > 0
    assert old == (200, paid | {"stale": True})
    assert forced == (200, paid | {"stale": True})


def test_requests_waiting_for_a_hanging_stripe_do_not_block_others(
    daemon: Daemon, sandbox: Sandbox, sign_up: Callable[..., Json]
) -> None:
    fresh = sign_up()["user_id"]
    ask(daemon, fresh)
    users = [f"many_{number}" for number in range(3 * MOST_QUESTIONS)]
    with psycopg.connect(daemon.database_url, autocommit=True) as conn:
        for user in users:
            conn.execute("insert into users (id) values (%s)", (user,))
            conn.execute(
                "insert into stripe_customers (user_id, stripe_customer_id) values (%s, 'cus_' || %s)", (user, user)
            )
    sandbox.tell("faults", operation=LIST, hang=True)

    with ThreadPoolExecutor(len(users)) as threads:
        answers = [threads.submit(ask, daemon, user) for user in users]
        eventually(lambda: requests(sandbox)[LIST] > 1)
        meanwhile = ask(daemon, fresh, "?max_age=3600")
    running = questions(daemon)

    assert {(answer.result()[0], answer.result()[1]["stale"]) for answer in answers} == {(200, True)}
    assert (meanwhile[0], meanwhile[1]["stale"]) == (200, False)
    assert 0 < running <= MOST_QUESTIONS


def test_reads_that_time_out_do_not_make_others_wait(
    daemon: Daemon, sandbox: Sandbox, sign_up: Callable[..., Json]
) -> None:
    users = [sign_up()["user_id"] for _ in range(MOST_SLOW_READS + 1)]
    sandbox.tell("faults", operation=LIST, hang=True)
    with ThreadPoolExecutor(MOST_SLOW_READS) as threads:
        waited = list(threads.map(lambda user: ask(daemon, user), users[1:]))

    answers = [ask(daemon, users[0]), force(daemon, users[0])]

    assert questions(daemon) == MOST_SLOW_READS
    assert {(status, answer["stale"]) for status, answer in waited + answers} == {(200, True)}


@pytest.mark.parametrize("fault", [{"rate429": 1.0}, {"rate500": 1.0}])
def test_the_stored_answer_is_returned_if_stripe_refuses(
    daemon: Daemon, sandbox: Sandbox, sign_up: Callable[..., Json], fault: Json
) -> None:
    user = sign_up()["user_id"]
    sandbox.tell("faults", operation=LIST, **fault)

    assert ask(daemon, user)[1] | {"has_access": False, "stale": True, "synced_at": None} == ask(daemon, user)[1]


def test_two_processes_that_need_the_same_user_read_stripe_once(
    backend: Backend, database: str, tmp_path: Path
) -> None:
    with sandboxes.running() as stripe, psycopg.connect(database, autocommit=True) as conn:
        ids = stripe.tell("stories/sign_up", user_id="jenny")["ids"]
        conn.execute("insert into users (id) values ('jenny')")
        conn.execute(
            "insert into stripe_customers (user_id, stripe_customer_id) values ('jenny', %s)", (ids["customer"],)
        )
        env = {"STRIPE_SECRET_KEY": sandboxes.KEY, "STRIPE_API_BASE": stripe.address}
        processes = [Daemon(database, backend.redis_url, tmp_path, **env) for _ in range(2)]
        together = threading.Barrier(6)

        def at_once(process: Daemon) -> tuple[int, Json]:
            together.wait()
            return ask(process, "jenny")

        try:
            for process in processes:
                process.start_web()
            stripe.tell("faults", operation=LIST, slow_seconds=0.5)
            with ThreadPoolExecutor(6) as threads:
                answers = list(threads.map(at_once, processes * 3))
        finally:
            for process in processes:
                process.stop()

        assert requests(stripe)[LIST] == 1
        assert {(status, answer["has_access"]) for status, answer in answers} == {(200, True)}


def test_a_task_sent_by_name_syncs_the_user(daemon: Daemon, sandbox: Sandbox, sign_up: Callable[..., Json]) -> None:
    ids = sign_up(known=False, link="session")
    application = Celery(broker=daemon.env["REDIS_URL"])
    worker = daemon.start("worker")

    try:
        application.send_task(
            "stripe_sync.sync_user",
            [ids["user_id"]],
            {"checkout_session": ids["checkout_session"]},
            queue="periodic",
        )
        application.send_task("stripe_sync.sync_user", ["nobody_at_all"], queue="periodic")
        premium = "select count(*) from users where role = 'PREMIUM' and id = '{}'".format(ids["user_id"])
        eventually(lambda: daemon.count(premium) == 1)
        eventually(lambda: "no user nobody_at_all" in daemon.logs())
    finally:
        daemon.kill(worker)
        application.close()


def test_the_python_functions_give_the_same_answers(
    daemon: Daemon, sandbox: Sandbox, sign_up: Callable[..., Json]
) -> None:
    user = sign_up()["user_id"]
    program = (
        "import json, sys\n"
        "from worker.on_access.answer import NoSuchUser, access, sync\n"
        "print(json.dumps([access(sys.argv[1], max_age=5).as_dict(), sync(sys.argv[1]).as_dict()]))\n"
        "try:\n    access('nobody')\nexcept NoSuchUser as error:\n    print(error)\n"
    )

    done = subprocess.run(
        [sys.executable, "-c", program, user], env=daemon.env, capture_output=True, text=True, timeout=60, check=True
    )

    listed, refused = [line for line in done.stdout.splitlines() if line.startswith(("[{", "There"))]
    first, second = json.loads(listed)
    assert (first["has_access"], first["stale"], second["stale"]) == (True, False, False)
    assert second["synced_at"] > first["synced_at"]
    assert "no user nobody" in refused


def test_without_a_key_the_stored_answer_is_returned_and_a_sync_names_the_setting(
    daemon: Daemon, sign_up: Callable[..., Json], tmp_path: Path
) -> None:
    user = sign_up()["user_id"]
    keyless = Daemon(daemon.database_url, daemon.env["REDIS_URL"], tmp_path)
    try:
        keyless.start_web()
        status, answer = ask(keyless, user)
        forced, refusal = force(keyless, user)
    finally:
        keyless.stop()

    assert (status, answer["has_access"], answer["stale"]) == (200, False, True)
    assert (forced, refusal["code"]) == (503, "unavailable")
    assert "STRIPE_SECRET_KEY" in refusal["message"]


def test_a_user_without_a_customer_is_answered_from_the_tables(daemon: Daemon, sandbox: Sandbox) -> None:
    with psycopg.connect(daemon.database_url, autocommit=True) as conn:
        conn.execute("insert into users (id, tokens) values ('free', 3) on conflict do nothing")
    before = requests(sandbox)

    assert ask(daemon, "free") == (
        200,
        {
            "has_access": False,
            "role": "USER",
            "membership_status": "ACTIVE",
            "features": [],
            "product": None,
            "subscription": None,
            "tokens": 3,
            "tokens_expires_at": None,
            "synced_at": None,
            "stale": False,
        },
    )
    assert requests(sandbox) == before


@pytest.mark.parametrize("max_age", ["soon", "-1", "nan", "inf", ""])
def test_an_invalid_max_age_is_refused_with_a_message_that_names_it(daemon: Daemon, max_age: str) -> None:
    status, answer = ask(daemon, "free", f"?max_age={max_age}")

    assert (status, answer["code"]) == (400, "bad_request")
    assert answer["message"].startswith("max_age: ")


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"{", "not JSON"),
        ([1], "not a JSON object"),
        ({"session_id": "cs_1"}, "session_id: "),
        ({"checkout_session": "sub_1"}, "checkout_session: "),
        ({"checkout_session": 7}, "checkout_session: "),
        (b" " * 20_000, "larger than"),
    ],
)
def test_an_invalid_body_is_refused_with_a_message_that_names_the_fault(daemon: Daemon, body: Any, says: str) -> None:
    status, answer = force(daemon, "free", body)

    assert status == (413 if says == "larger than" else 400)
    assert says in answer["message"]


@pytest.mark.parametrize("user", ["nobody", "no%00body", "a/b"])
def test_an_unknown_user_is_404(daemon: Daemon, user: str) -> None:
    for status, answer in (ask(daemon, user), force(daemon, user)):
        assert (status, answer["code"]) == (404, "not_found")
        assert "no user" in answer["message"]


def test_requests_without_the_token_or_with_another_method_are_refused(daemon: Daemon) -> None:
    with daemon.connection() as connection:
        answers = []
        for method, path, headers in (
            ("GET", "/v1/users/free/access", {}),
            ("POST", "/v1/users/free/sync", {"authorization": "Bearer guess"}),
            ("POST", "/v1/users/free/access", TOKEN),
            ("GET", "/v1/users/free/sync", TOKEN),
        ):
            connection.request(method, path, headers=headers)
            answer = connection.getresponse()
            answers.append((answer.status, json.loads(answer.read())["code"]))

    assert answers == [
        (401, "unauthorized"),
        (401, "unauthorized"),
        (405, "method_not_allowed"),
        (405, "method_not_allowed"),
    ]


def test_any_object_is_synced_over_http(daemon: Daemon, sandbox: Sandbox) -> None:
    made = sandbox.post("/v1/customers", name="Jenny")["id"]

    def sync(id_: str, query: str = "") -> tuple[int, Json]:
        with daemon.connection() as connection:
            connection.request("POST", f"/v1/objects/{id_}/sync{query}", None, TOKEN)
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())

    status, body = sync(made)
    assert (status, body["object"], body["outcome"]) == (200, "customer", "corrected")
    assert {"path": "name", "before": None, "after": "Jenny"} in body["changed"]
    assert sync(made)[1]["outcome"] == "confirmed"
    assert sync("cus_none")[0] == 404
    assert sync("gold")[0] == 400
    assert sync("gold", "?type=product")[0] == 404
