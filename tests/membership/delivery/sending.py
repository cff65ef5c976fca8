"""Run a sender with short pauses in a process that tests can kill: python -m tests.membership.delivery.sending DSN URL."""

import sys
import time

from pydantic import SecretStr

from tests.membership.delivery.receiver import OLDER_SECRET, SECRET
from worker.config.backoff import Backoff
from worker.config.settings import AppEnv, Settings
from worker.membership.delivery.call import Caller
from worker.membership.delivery.sender import THREADS, Pace, Sender

PACE = Pace(
    each=5,
    run=0.3,
    lease=1.5,
    idle=0.02,
    backoff=Backoff(first=0.05, longest=0.4),
    attempts=400,
    away_after=8,
    away=Backoff(first=0.05, longest=0.2),
)


def sender(database_url: str, url: str, pace: Pace = PACE, *, read_seconds: float = 0.5) -> Sender:
    settings = Settings(
        database_url=database_url,
        redis_url="redis://127.0.0.1:1/0",
        app_env=AppEnv.TEST,
        changes_url=url,
        changes_secret=(SecretStr(SECRET), SecretStr(OLDER_SECRET)),
    )
    caller = Caller(url, [SECRET, OLDER_SECRET], allow_private=True, connections=THREADS, read_seconds=read_seconds)
    return Sender(settings, caller, pace)


if __name__ == "__main__":
    ends = time.monotonic() + 600
    sender(sys.argv[1], sys.argv[2]).run(lambda: time.monotonic() < ends)
