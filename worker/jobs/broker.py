"""Kombu's Redis transports, with channels that can acknowledge a message after their connection was lost.

A channel of kombu 5.7 reads its connection's parameters each time it makes a pool. Once the connection was collected
they are gone, and a late acknowledgement fails with an AttributeError, which is no connection error, so Celery's
consumer ends. If the channel remembers the parameters, it succeeds, or fails like any request to an absent broker. See
docs/decisions/0017.
"""

from typing import Any

from kombu.transport import redis


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
