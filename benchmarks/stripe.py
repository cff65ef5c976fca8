"""The sandbox as a large Stripe account: a separate process, with answers as slow as Stripe's."""

import contextlib
import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from typing import Any

KEY = "sk_test_sandbox"


@contextlib.contextmanager
def running(*, populate: dict[str, Any], slow_seconds: float = 0.2, limits: bool = False) -> Iterator[str]:
    """The address of a sandbox with this many objects. With `limits`, it refuses requests as Stripe does in live mode."""
    command = [sys.executable, "-m", "sandbox", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            address = process.stdout.readline().split()[-1]
            tell(address, "populate", populate)
            tell(address, "faults", {"slow_seconds": slow_seconds})
            if limits:
                tell(address, "faults", {"limits": {"account": 100.0, "operation": 25.0}})
            yield address
        finally:
            process.terminate()


def tell(address: str, control: str, body: dict[str, Any]) -> Any:
    """Send a control request to the sandbox; returns the answer."""
    request = urllib.request.Request(f"{address}/_sandbox/{control}", json.dumps(body).encode())
    with urllib.request.urlopen(request, timeout=600) as answer:
        return json.load(answer)


def objects(address: str, type_: str, *, number: int) -> list[dict[str, Any]]:
    """The first objects of a type, as Stripe's list shows them now."""
    with urllib.request.urlopen(f"{address}/_sandbox/state?type={type_}&limit={number}", timeout=60) as answer:
        shown: list[dict[str, Any]] = json.load(answer)["objects"]
    return shown


def requests(address: str) -> int:
    """The number of requests for lists that the sandbox has answered."""
    with urllib.request.urlopen(f"{address}/_sandbox/stats", timeout=60) as answer:
        return sum(number for name, number in json.load(answer)["requests"].items() if name.startswith("GET /v1/"))
