"""If the broker is gone, acknowledging a message fails with a connection error, so the consumer reconnects."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
import structlog
from kombu.connection import Connection
from kombu.message import Message

from worker.config.settings import Settings
from worker.dev.servers import Valkey, start_valkey
from worker.jobs import broker, celery_app
from worker.jobs.beat import OutageScheduler


@pytest.fixture(autouse=True)
def fresh_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Clear kombu's cache of transports, because earlier tests may have put kombu's own transports there."""
    monkeypatch.setattr("kombu.transport._transport_cache", {})


@pytest.fixture
def valkey(tmp_path: Path) -> Iterator[Valkey]:
    server = start_valkey(tmp_path / "valkey")
    yield server
    server.close()


def connection_of(settings: Settings, url: str) -> Connection:
    connection: Connection = celery_app.make(url).connection_for_read()
    return connection


def receive_and_lose_the_connection(connection: Connection) -> Message:
    """Return an unacknowledged message whose consumer has lost its connection and cleaned up."""
    queue = connection.SimpleQueue("late")  # type: ignore[no-untyped-call]  # kombu has no types
    queue.put({})
    message: Message = queue.get(timeout=5)
    connection.collect()  # type: ignore[no-untyped-call]
    # If the broker refuses the connection, the cleanup also disconnects the channel's pools.
    message.channel._disconnect_pools()
    return message


def test_acknowledging_while_the_broker_is_away_is_a_connection_error(settings: Settings, valkey: Valkey) -> None:
    connection = connection_of(settings, valkey.url)
    message = receive_and_lose_the_connection(connection)
    valkey.stop()

    with pytest.raises(connection.connection_errors):
        message.ack()  # type: ignore[no-untyped-call]


def test_a_message_is_acknowledged_after_its_connection_was_lost(settings: Settings, valkey: Valkey) -> None:
    message = receive_and_lose_the_connection(connection_of(settings, valkey.url))

    message.ack()  # type: ignore[no-untyped-call]

    with redis.Redis.from_url(valkey.url) as client:
        assert client.hlen("unacked") == 0


@pytest.mark.parametrize("scheme", ["redis", "rediss", "sentinel"])
def test_every_kind_of_broker_uses_our_channels(settings: Settings, scheme: str) -> None:
    transport = connection_of(settings, f"{scheme}://127.0.0.1:1/0").transport

    assert transport.Channel is (broker.SentinelChannel if scheme == "sentinel" else broker.Channel)


def test_a_lost_connection_is_retried_every_second_and_logged_once(
    settings: Settings, valkey: Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(broker, "RETRY_SECONDS", 0.01)
    connection = connection_of(settings, valkey.url)
    reported: list[float] = []
    tried: list[int] = []

    def wait() -> None:
        tried.append(1)
        if len(tried) == 20:
            valkey.start()

    valkey.stop()
    connection.ensure_connection(lambda _, pause: reported.append(pause), None, callback=wait)  # type: ignore[no-untyped-call]

    assert len(tried) >= 20
    assert reported == [0.01]


def test_the_beat_logs_each_outage_once_and_sends_afterwards(valkey: Valkey) -> None:
    tick = celery_app.Tick("a tick", "stripe_sync.wake", "ticks", seconds=60)
    scheduler = OutageScheduler(celery_app.make(valkey.url, [tick]))
    entry, producer = scheduler.schedule["a tick"], scheduler.producer

    with structlog.testing.capture_logs() as logs:
        for outage in (1, 2):
            valkey.stop()
            for _ in range(3):
                scheduler.apply_entry(entry, producer=producer)
            assert [line["event"] for line in logs] == ["broker.unreachable"] * outage
            valkey.start()
            scheduler.apply_entry(entry, producer=producer)

    with redis.Redis.from_url(valkey.url) as client:
        assert client.llen("ticks") == 2
