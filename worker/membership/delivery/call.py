"""One call to CHANGES_URL: a change in the Standard Webhooks format (standardwebhooks.com), signed with every secret."""

import threading
import time
from collections.abc import Sequence
from datetime import UTC, datetime

import certifi
import msgspec
import urllib3
from standardwebhooks import Webhook
from urllib3.exceptions import HTTPError

from worker.config.errors import Temporary
from worker.membership.delivery import address
from worker.membership.delivery.address import Target
from worker.membership.delivery.store import Change
from worker.observe import trace

CONNECT_SECONDS, READ_SECONDS = 3.0, 10.0
# Seconds after which the name is resolved again and its addresses are checked again.
RESOLVED_SECONDS = 10.0
MOST_ANSWER_BYTES = 64 * 1024


class NotDelivered(Temporary):
    """The receiver did not answer with a status from 200 to 299."""


def body(change: Change) -> bytes:
    """The body of the call."""
    return msgspec.json.encode(
        {
            "type": change.type,
            "timestamp": change.timestamp,
            "data": {"user_id": change.user_id, **change.details},
        }
    )


def headers(change: Change, content: bytes, secrets: Sequence[str], now: datetime) -> dict[str, str]:
    """The headers that identify, date and sign the call; one signature for each secret."""
    signatures = [Webhook(secret).sign(str(change.id), now, content.decode()) for secret in secrets]
    return {
        "content-type": "application/json",
        "user-agent": "stripe-sync",
        "webhook-id": str(change.id),
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": " ".join(signatures),
        **({"traceparent": here} if (here := trace.traceparent()) else {}),
    }


class Caller:
    """Calls one URL. Several threads may call at once."""

    def __init__(
        self,
        url: str,
        secrets: Sequence[str],
        *,
        allow_private: bool,
        connections: int,
        read_seconds: float = READ_SECONDS,
    ) -> None:
        self._timeout = urllib3.Timeout(connect=CONNECT_SECONDS, read=read_seconds)
        self._url, self._secrets, self._allow_private = url, secrets, allow_private
        self._connections, self._lock = connections, threading.Lock()
        self._target: Target | None = None
        self._resolved_at = 0.0
        self._pool: urllib3.HTTPConnectionPool | None = None

    def send(self, change: Change) -> None:
        """Deliver the change. Raises NotDelivered, or AddressRefused; a redirect is not followed."""
        with trace.span("change.send", kind=trace.CLIENT, parent=change.traceparent) as span:
            if span is not None:
                trace.note("stripe_sync.change", change.id)
            self._send(change)

    def _send(self, change: Change) -> None:
        content = body(change)
        pool, target = self._connected()
        try:
            answer = pool.urlopen(
                "POST",
                target.path,
                body=content,
                headers={"host": target.host_header, **headers(change, content, self._secrets, datetime.now(UTC))},
                redirect=False,
                retries=False,
                preload_content=False,
            )
            try:
                # A connection can be reused if its answer was read to the end. Only the beginning of a long answer is
                # read.
                answer.read(MOST_ANSWER_BYTES, decode_content=False)
            finally:
                if not answer.closed:
                    answer.close()
        except HTTPError as error:
            raise NotDelivered(f"{type(error).__name__}: {error}"[:300]) from error
        if not 200 <= answer.status < 300:
            raise NotDelivered(f"the receiver answered {answer.status}")

    def _connected(self) -> tuple[urllib3.HTTPConnectionPool, Target]:
        """The connection pool for the address that was checked. With TLS, the certificate must be valid for the
        host."""
        with self._lock:
            if self._pool is None or self._target is None or time.monotonic() - self._resolved_at > RESOLVED_SECONDS:
                target = address.resolve(self._url, allow_private=self._allow_private)
                if self._pool is None or target != self._target:
                    self._pool = _pool(target, self._connections, self._timeout)
                self._target, self._resolved_at = target, time.monotonic()
            return self._pool, self._target


def _pool(target: Target, connections: int, timeout: urllib3.Timeout) -> urllib3.HTTPConnectionPool:
    if target.scheme == "http":
        return urllib3.HTTPConnectionPool(target.address, target.port, timeout=timeout, maxsize=connections)
    return urllib3.HTTPSConnectionPool(
        target.address,
        target.port,
        timeout=timeout,
        maxsize=connections,
        ca_certs=certifi.where(),
        server_hostname=target.host,
        assert_hostname=target.host,
    )
