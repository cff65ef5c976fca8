"""Fixtures for tests of the clients: a web process, a sandbox, and packages from registries that may be unreachable."""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
import redis

from tests import sandboxes
from tests.backends import Backend
from tests.processes import Daemon
from tests.sandboxes import Sandbox

UNREACHABLE = re.compile(
    r"ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|ETIMEDOUT|ENETUNREACH|EHOSTUNREACH|ENOTCACHED|NewConnectionError"
    r"|ConnectTimeoutError|Temporary failure in name resolution|No matching distribution"
)

# The changes that the first sync of `paying_user` makes.
CHANGES = ["access.granted", "subscription.changed", "features.changed", "tokens.granted"]
PACKAGE = Path(__file__).parents[2] / "clients" / "python"
EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"
# The dependencies of the examples in Python, without the client.
FRAMEWORKS = sorted(
    {
        line
        for file in EXAMPLES.glob("*/requirements.txt")
        for line in file.read_text().splitlines()
        if not line.startswith("stripe-sync-client")
    }
)


def install(*command: str, cwd: Path) -> None:
    """Run a package client. Skip the test if its registry cannot be reached."""
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=300, check=False)
    if done.returncode != 0 and (reason := UNREACHABLE.search(done.stderr)):
        pytest.skip(f"the registry of {Path(command[0]).name} can't be reached: {reason[0]}")
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="session")
def python(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The interpreter of an environment with only the built package and the examples' dependencies."""
    folder = tmp_path_factory.mktemp("client")
    shutil.copytree(PACKAGE, folder / "source", ignore=shutil.ignore_patterns("build", "*.egg-info", "__pycache__"))
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    install(*pip, "wheel", "--no-deps", "--no-build-isolation", "-w", str(folder), str(folder / "source"), cwd=folder)
    (wheel,) = folder.glob("*.whl")
    subprocess.run([sys.executable, "-m", "venv", str(folder / "env")], check=True)
    interpreter = str(folder / "env" / "bin" / "python")
    quiet = ["-m", "pip", "--quiet", "--disable-pip-version-check", "install"]
    install(interpreter, *quiet, f"{wheel}[asyncio]", *FRAMEWORKS, cwd=folder)
    return interpreter


@pytest.fixture(scope="session")
def stripe_sandbox() -> Iterator[Sandbox]:
    with sandboxes.running() as running:
        yield running


@pytest.fixture(scope="session")
def web(
    backend: Backend, template: str, stripe_sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Daemon]:
    """A web process that reads the sandbox but gets no deliveries."""
    with redis.Redis.from_url(backend.redis_url) as client:
        client.flushall()
    database = backend.create_database("clients", template=template)
    env = {"STRIPE_SECRET_KEY": sandboxes.KEY, "STRIPE_API_BASE": stripe_sandbox.address}
    daemon = Daemon(database, backend.redis_url, tmp_path_factory.mktemp("logs"), **env)
    daemon.start_web()
    yield daemon
    daemon.stop()
    backend.drop_database("clients")


@pytest.fixture
def paying_user(web: Daemon, stripe_sandbox: Sandbox, request: pytest.FixtureRequest) -> str:
    """A user who has paid for Pro, which gives the feature `export`. The daemon does not know it yet."""
    user = re.sub(r"\W", "_", request.node.name)
    made = stripe_sandbox.tell("stories/sign_up", user_id=user)["ids"]
    customer = made["customer"]
    stripe_sandbox.post(f"/v1/products/{made['product']}", **{"metadata[features]": "export"})
    with psycopg.connect(web.database_url, autocommit=True) as conn:
        conn.execute("insert into users (id, email) values (%s, %s)", (user, f"{user}@example.com"))
        conn.execute("insert into stripe_customers (user_id, stripe_customer_id) values (%s, %s)", (user, customer))
    return user


@pytest.fixture(scope="session")
def price(stripe_sandbox: Sandbox) -> str:
    """A price of a product that gives a feature and tokens."""
    metadata = {"metadata[features]": "export, api", "metadata[tokens]": "5000"}
    product = stripe_sandbox.post("/v1/products", name="Team", **metadata)["id"]
    recurring = {"recurring[interval]": "month", "currency": "usd", "unit_amount": "2000"}
    price_id: str = stripe_sandbox.post("/v1/prices", product=product, **recurring)["id"]
    return price_id
