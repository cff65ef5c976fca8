"""Kombu's Redis transports, with channels that can acknowledge a message after they have lost their connection.

In kombu 5.7, a channel reads its connection's parameters each time it makes a pool. After the connection was garbage
collected, the parameters are gone. A late acknowledgement then fails with an AttributeError. Celery does not treat this
as a connection error, so its consumer ends. A channel that remembers the parameters can acknowledge the message. If the
broker is still away, the acknowledgement fails with a connection error. See docs/decisions/0017.

Reconnecting is attempted every second. Kombu's own pauses grow to half a minute, and events would wait that long after the
broker has returned.
"""

from collections.abc import Callable
from typing import Any

from celery.app import amqp
from kombu import connection
from kombu.transport import redis

RETRY_SECONDS = 1.0


class Connection(connection.Connection):
    """A connection that reports an absent broker once, and reconnects within seconds of its return."""

    def _ensure_connection(  # type: ignore[override]  # its other options are passed on
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
    """Celery's AMQP class with this Connection."""

    Connection = Connection


class _RemembersParameters:
    """A channel that reads its connection's parameters once, while the connection exists."""

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
