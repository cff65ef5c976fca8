"""Postgres, the broker and Stripe are unreachable when the processes start, and again later. No process ends, and all
processes work again within seconds after the three return.
"""

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import redis

from tests import factories, sandboxes
from tests.backends import Backend
from tests.processes import Daemon, deliver, eventually
from tests.proxies import Proxy

pytestmark = pytest.mark.system

RETURN_SECONDS = 5.0
# The daemon's processes can't resolve HOST while the file named by TEST_NO_NAMES exists.
HOST, NO_NAMES = "localhost", "TEST_NO_NAMES"
RESOLVER = f"""
import os, socket
resolve = socket.getaddrinfo

def getaddrinfo(host, *arguments, **options):
    if host in ("{HOST}", b"{HOST}"):
        if os.path.exists(os.environ["{NO_NAMES}"]):
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        host = "127.0.0.1"
    return resolve(host, *arguments, **options)

socket.getaddrinfo = getaddrinfo
"""


@dataclass(frozen=True)
class Services:
    """Proxies to Postgres, the broker and Stripe, which all fail and return together."""

    proxies: list[Proxy]
    no_names: Path

    def fail(self, how: str) -> None:
        if how == "no names":
            self.no_names.touch()
        for proxy in self.proxies:
            # Only a new connection resolves the name, so the open connections are closed too.
            (proxy.mute if how == "mute" else proxy.refuse)()

    def come_back(self) -> None:
        self.no_names.unlink(missing_ok=True)
        for proxy in self.proxies:
            proxy.unmute()


@pytest.fixture
def services(backend: Backend, database: str, tmp_path: Path) -> Iterator[tuple[Services, Daemon]]:
    with redis.Redis.from_url(backend.redis_url) as client:
        client.flushall()
    (tmp_path / "sitecustomize.py").write_text(RESOLVER)
    logs = tmp_path / "logs"
    logs.mkdir()
    with contextlib.ExitStack() as stack:
        sandbox = stack.enter_context(sandboxes.running())
        ports = [
            int(url.rpartition(":")[2].partition("/")[0]) for url in (database, backend.redis_url, sandbox.address)
        ]
        proxies = [stack.enter_context(Proxy(port)) for port in ports]
        daemon = Daemon(
            database,
            backend.redis_url.replace(f"127.0.0.1:{ports[1]}", f"{HOST}:{proxies[1].port}"),
            logs,
            STRIPE_SECRET_KEY=sandboxes.KEY,
            STRIPE_API_BASE=f"http://{HOST}:{proxies[2].port}",
            PRODUCT_REFRESH_INTERVAL="2",
            PYTHONPATH=str(tmp_path),
            **{NO_NAMES: str(tmp_path / "no-names")},
        )
        daemon.env["DATABASE_URL"] = database.replace(f"127.0.0.1:{ports[0]}", f"{HOST}:{proxies[0].port}")
        stack.callback(daemon.stop)
        yield Services(proxies, tmp_path / "no-names"), daemon


@pytest.mark.parametrize("how", ["refuse", "mute", "no names"])
def test_processes_survive_an_outage_at_start_and_later_and_recover(
    services: tuple[Services, Daemon], tmp_path: Path, how: str
) -> None:
    dependencies, daemon = services
    numbers = iter(range(100))

    def post() -> int:
        customer = factories.customer(f"cus_{next(numbers)}")
        with daemon.connection() as connection:
            return deliver(connection, factories.encoded(factories.event("customer.created", customer)))[0]

    dependencies.fail(how)
    daemon.start_web()
    daemon.start("worker")
    daemon.start("beat")
    began = time.monotonic()
    assert post() == 503
    assert time.monotonic() - began < 10.5
    # Each process logs that it can't connect.
    eventually(lambda: all("onnect" in log.read_text() for log in (tmp_path / "logs").iterdir()))
    assert alive(daemon)
    dependencies.come_back()
    returns = [seconds(lambda: post() == 200), seconds(lambda: applied(daemon))]
    refreshed = "select count(*) from sync.runs where job = 'product_refresh' and outcome = 'done' and started_at >= "
    eventually(lambda: daemon.count(f"{refreshed} '-infinity'"))

    dependencies.fail(how)
    eventually(lambda: post() == 503)
    assert alive(daemon)
    dependencies.come_back()
    returns += [seconds(lambda: post() == 200), seconds(lambda: applied(daemon))]
    back = daemon.count("select extract(epoch from clock_timestamp())::bigint")
    eventually(lambda: daemon.count(f"{refreshed} to_timestamp({back})"), within=60)

    print([round(each, 1) for each in returns])
    assert alive(daemon)
    assert max(returns) < RETURN_SECONDS


def alive(daemon: Daemon) -> bool:
    return [process.poll() for process in daemon.processes] == [None, None, None]


def applied(daemon: Daemon) -> bool:
    return daemon.count("select count(*) from sync.events where status <> 'done'") == 0


def seconds(until: Callable[[], bool]) -> float:
    began = time.monotonic()
    eventually(until, within=12 * RETURN_SECONDS)
    return time.monotonic() - began
