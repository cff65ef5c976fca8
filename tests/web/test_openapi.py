"""The OpenAPI document compared with the routes and their answers."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import psycopg
import pytest

from tests import sandboxes
from tests.backends import Backend
from tests.processes import Daemon
from worker import web
from worker.web import openapi

pytestmark = pytest.mark.system


@pytest.fixture(scope="module")
def daemon(backend: Backend, template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    database = backend.create_database("openapi", template=template)
    with sandboxes.running() as sandbox:
        env = {"STRIPE_SECRET_KEY": sandboxes.KEY, "STRIPE_API_BASE": sandbox.address}
        daemon = Daemon(database, backend.redis_url, tmp_path_factory.mktemp("logs"), **env)
        daemon.start_web()
        customer = sandbox.tell("stories/sign_up", user_id="jenny")["ids"]["customer"]
        with psycopg.connect(database, autocommit=True) as conn:
            conn.execute("insert into users (id, email) values ('jenny', 'jenny@example.com')")
            link = "insert into stripe_customers (user_id, stripe_customer_id) values ('jenny', %s)"
            conn.execute(link, (customer,))
        yield daemon
        daemon.stop()
    backend.drop_database("openapi")


def send(daemon: Daemon, method: str, path: str, *, body: str | None = None, token: str = "token") -> tuple[int, bytes]:
    with daemon.connection() as connection:
        connection.request(method, path, body, {"authorization": f"Bearer {token}"})
        answer = connection.getresponse()
        return answer.status, answer.read()


def test_the_document_describes_exactly_the_routes_of_the_api() -> None:
    sources = "".join(file.read_text() for file in Path(web.__file__).parent.glob("*.py"))
    routes = re.findall(r'Route\("?(/v1/[^"]+|PATH)"?, [^)]*?(?:methods=\["(\w+)"\])?\)', sources)

    described = {(path, method) for path, methods in openapi.document()["paths"].items() for method in methods}

    expected = {
        (openapi.PATH if path == "PATH" else path.replace(":path", ""), method.lower() or "get")
        for path, method in routes
    }
    assert described == expected


def test_the_document_is_served_and_its_references_resolve(daemon: Daemon) -> None:
    status, body = send(daemon, "GET", "/v1/openapi.json")

    document = json.loads(body)
    assert status == 200
    assert document == openapi.document()
    references = set(_references(document))
    assert references == {f"#/components/schemas/{name}" for name in document["components"]["schemas"]}


def _references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if "$ref" in value:
            yield value["$ref"]
        for member in value.values():
            yield from _references(member)
    elif isinstance(value, list):
        for member in value:
            yield from _references(member)


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "type_"),
    [
        ("GET", "/v1/users/jenny/access", None, 200, openapi.Access),
        ("GET", "/v1/users/jenny/access?max_age=x", None, 400, openapi.Error),
        ("GET", "/v1/users/nobody/access", None, 404, openapi.Error),
        ("POST", "/v1/users/jenny/sync", "{}", 200, openapi.Access),
        ("POST", "/v1/users/jenny/sync", "[]", 400, openapi.Error),
        ("GET", "/v1/status", None, 200, openapi.Status),
        ("GET", "/v1/changes?after=0&limit=1", None, 200, openapi.Changes),
        ("GET", "/v1/changes?limit=0", None, 400, openapi.Error),
        ("POST", "/v1/objects/cus_nobody/sync", None, 404, openapi.Error),
        ("POST", "/v1/objects/x/sync", None, 400, openapi.Error),
        ("POST", "/v1/objects/{customer}/sync", None, 200, openapi.ObjectSync),
    ],
)  # fmt: skip
def test_an_answer_matches_its_description(
    daemon: Daemon, method: str, path: str, body: str | None, status: int, type_: type[Any]
) -> None:
    with psycopg.connect(daemon.database_url) as conn:
        (customer,) = conn.execute("select stripe_customer_id from stripe_customers").fetchone() or ("",)

    answered, content = send(daemon, method, path.replace("{customer}", customer), body=body)

    assert answered == status, content
    # The structs forbid unknown fields and require all known ones.
    msgspec.json.decode(content, type=type_)
    names = dict.fromkeys(("jenny", "nobody", "cus_nobody", "x", "{customer}"), "{id}")
    template = "/".join(names.get(part, part) for part in path.partition("?")[0].split("/"))
    assert str(status) in openapi.document()["paths"][template][method.lower()]["responses"]


def test_the_answer_to_a_wrong_token_matches_its_description(daemon: Daemon) -> None:
    status, content = send(daemon, "GET", "/v1/status", token="wrong")

    assert status == 401
    msgspec.json.decode(content, type=openapi.Error)
