"""Kombu's Redis transports, whose channels can acknowledge a message after their connection was lost.

A channel of kombu 5.7 reads its connection's parameters anew whenever it makes a pool. After the connection was collected
they are gone, and a late acknowledgement fails with an AttributeError: no connection error, so Celery's consumer ends. With
the parameters remembered it succeeds, or fails as any request to an absent broker does. See docs/decisions/0017.
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
