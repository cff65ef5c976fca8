"""Run the sandbox as a test's Stripe: a separate process, controlled over HTTP."""

import contextlib
import json
import subprocess
import sys
import urllib.parse
import urllib.request
from collections.abc import Iterator
from typing import Any

from tests.processes import SECRET

KEY = "sk_test_sandbox"


class Sandbox:
    """A running sandbox."""

    def __init__(self, address: str, account: str = "") -> None:
        self.address, self.account = address, account

    def connected(self, account: str) -> "Sandbox":
        """The same sandbox, for one of its connected accounts."""
        return Sandbox(self.address, account)

    def tell(self, path: str, **body: Any) -> Any:
        """POST to a control: `deliveries`, `stories/sign_up`, `faults` ..."""
        inside = {"account": self.account} if self.account else {}
        return self._send(f"/_sandbox/{path}", json.dumps(body | inside).encode())

    def ask(self, path: str) -> Any:
        """GET a control: `state?type=subscription`, `stats` ..."""
        inside = f"{'&' if '?' in path else '?'}account={self.account}" if self.account else ""
        return self._send(f"/_sandbox/{path}{inside}", None)

    def get(self, path: str) -> Any:
        """GET from Stripe's API."""
        return self._send(path, None)

    def post(self, path: str, **form: str) -> Any:
        """POST a form to Stripe's API, as its clients do."""
        return self._send(path, urllib.parse.urlencode(form).encode())

    def delete(self, path: str) -> Any:
        return self._send(path, None, method="DELETE")

    def _send(self, path: str, body: bytes | None, *, method: str | None = None) -> Any:
        request = urllib.request.Request(
            self.address + path,
            body,
            {"authorization": f"Bearer {KEY}"} | ({"stripe-account": self.account} if self.account else {}),
            method=method or ("POST" if body is not None else "GET"),
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)


@contextlib.contextmanager
def running(*, webhook: str | None = None, seed: int | None = None) -> Iterator[Sandbox]:
    """Run a sandbox until the end of the block. It delivers its events to the address `webhook`, if given."""
    command = [sys.executable, "-m", "sandbox", "--port", "0"]
    if webhook is not None:
        command += ["--webhook-url", webhook, "--webhook-secret", SECRET]
    if seed is not None:
        command += ["--seed", str(seed)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield Sandbox(process.stdout.readline().split()[-1])
    finally:
        process.terminate()
        process.wait()
        process.stdout.close()
