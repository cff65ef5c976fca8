"""The workers' verdicts on this process's webhook secrets; see `worker.inbox.endpoint.proof`."""

import contextlib
import time

import psycopg

from worker.config.settings import Settings
from worker.inbox import secrets
from worker.inbox.secrets import ASSUMED, FOREIGN, OURS
from worker.postgres.pool import OTHER_SCHEMA, UNAVAILABLE
from worker.stripe_api.client import fingerprint

# The secrets are reported again after this time, so that the table shows which ones are in use.
SETTLED_SECONDS = 60


class Verdicts:
    """The verdict on each secret, by fingerprint. If the verdict is None, the secret's events are held."""

    def __init__(self, settings: Settings) -> None:
        self._bound = {fingerprint(secret): account for secret, account in settings.webhook_secrets.items()}
        self._has_key = settings.stripe_secret_key is not None
        # A single secret is assumed to be ours, and checked later.
        alone = len(self._bound) == 1 and not any(self._bound.values())
        self._first = ASSUMED if alone else None
        self.known: dict[str, str | None] = dict.fromkeys(self._bound, self._first)
        if not self._has_key:
            # Without a key, no event can be read from Stripe to judge a secret. The account to which a secret is bound
            # decides instead, and the first of these accounts is ours.
            named = [account for account in self._bound.values() if account]
            for id_, account in self._bound.items():
                self.known[id_] = FOREIGN if account and account != named[0] else OURS
        self._due = float("-inf")

    def is_foreign(self, id_: str) -> bool:
        """Whether the secret with this fingerprint belongs to another account."""
        return self.known.get(id_) == FOREIGN

    def refresh(self, conn: psycopg.Connection) -> None:
        """Report this process's secrets to the database, and read the verdicts on them.

        If the database can't be reached, nothing changes.
        """
        if time.monotonic() < self._due:
            return
        with contextlib.suppress(*UNAVAILABLE, *OTHER_SCHEMA):
            if self._has_key:
                self.known.update(secrets.keep(conn, self._bound, first_verdict=self._first))
            else:
                others = {id_: self._bound[id_] for id_ in self._bound if self.is_foreign(id_)}
                secrets.keep(conn, others, first_verdict=FOREIGN)
                for id_ in others:
                    secrets.judge(conn, id_, FOREIGN, "it is bound to a different account than the first secret")
            if all(verdict in (OURS, FOREIGN) for verdict in self.known.values()):
                self._due = time.monotonic() + SETTLED_SECONDS
