"""Kombu's Redis transports, with channels that can acknowledge a message after their connection was lost.

A channel of kombu 5.7 reads its connection's parameters each time it makes a pool. Once the connection was collected
they are gone, and a late acknowledgement fails with an AttributeError, which is no connection error, so Celery's
consumer ends. If the channel remembers the parameters, it succeeds, or fails like any request to an absent broker. See
docs/decisions/0017.

A connection is tried again each second. The pauses of kombu's own grow to half a minute, and events would wait that long
after the broker's return.
"""

from collections.abc import Callable
from typing import Any

from celery.app import amqp
from kombu import connection
from kombu.transport import redis

RETRY_SECONDS = 1.0


class Connection(connection.Connection):
    """A connection that says once that the broker is away, and returns within seconds when it is back."""

    def _ensure_connection(  # type: ignore[override]  # the rest of its options is handed on
        self,
        errback: Callable[[Exception, float], None] | None = None,
        max_retries: int | None = None,
        interval_start: float | None = None,
        interval_step: float = 0,
        interval_max: float | None = None,
        **options: Any,
    ) -> Any:
        is_known = False

        def report_once(error: Exception, pause: float) -> None:
            nonlocal is_known
            if errback is not None and not is_known:
                errback(error, pause)
            is_known = True

        start = RETRY_SECONDS if interval_start is None else interval_start
        longest = RETRY_SECONDS if interval_max is None else interval_max
        pauses = (start, interval_step, longest)
        return super()._ensure_connection(report_once, max_retries, *pauses, **options)  # type: ignore[no-untyped-call]


class Amqp(amqp.AMQP):  # type: ignore[misc]  # celery has no types
    """Celery's messages over these connections."""

    Connection = Connection


class _RemembersParameters:
    """A channel that reads its connection's parameters once, while there is a connection."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self._parameters: dict[bool, dict[str, Any]] = {}
        super().__init__(*arguments, **options)
        self._connparams()

    def _connparams(self, asynchronous: bool = False) -> dict[str, Any]:
        if asynchronous not in self._parameters:
            self._parameters[asynchronous] = super()._connparams(asynchronous)  # type: ignore[misc]  # a mixin
        return dict(self._parameters[asynchronous])


class Channel(_RemembersParameters, redis.Channel):
    """A channel to Redis or Valkey at one address."""


class SentinelChannel(_RemembersParameters, redis.SentinelChannel):
    """A channel to Redis or Valkey behind Sentinels."""


class Transport(redis.Transport):
    """Redis or Valkey at one address."""

    Channel = Channel


class SentinelTransport(redis.SentinelTransport):
    """Redis or Valkey behind Sentinels."""

    Channel = SentinelChannel
