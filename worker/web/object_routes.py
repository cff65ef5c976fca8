"""One object over HTTP: POST /v1/objects/{id}/sync reads it from Stripe now, and returns what changed."""

import threading
from functools import partial

import anyio
import anyio.to_thread
from psycopg_pool import ConnectionPool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from worker.config.errors import Permanent, Temporary
from worker.config.settings import Settings
from worker.membership.compute import policy_of
from worker.stripe_api.client import Stripe
from worker.stripe_api.errors import BadKey, MissingPermission
from worker.writers import sync_object
from worker.writers.sync_object import NotThere, Synced

# Concurrent reads from Stripe in this process. Further requests wait without a thread.
READERS = 2


class ObjectRoutes:
    """The route, which reads from Stripe in a thread."""

    def __init__(self, settings: Settings, pool: ConnectionPool) -> None:
        self._settings, self._pool, self._policy = settings, pool, policy_of(settings)
        self._readers, self._making = anyio.CapacityLimiter(READERS), threading.Lock()
        self._stripe: Stripe | None = None
        self.routes = [Route("/v1/objects/{id:path}/sync", self.sync, methods=["POST"])]

    async def sync(self, request: Request) -> Response:
        """Read the object. The query may name its `type`, and a connected `account`."""
        id_, query = request.path_params["id"], request.query_params
        work = partial(self._sync, id_, query.get("type"), query.get("account", ""))
        try:
            if "\0" in id_:  # Postgres can't store this character
                raise NotThere("There is no such object.")
            synced = await anyio.to_thread.run_sync(work, limiter=self._readers)
        except NotThere as error:
            raise HTTPException(404, str(error)) from error
        except (BadKey, MissingPermission, Temporary) as error:
            raise HTTPException(503, str(error)) from error
        except Permanent as error:
            raise HTTPException(400, str(error)) from error
        return JSONResponse(synced.as_dict(), headers={"cache-control": "no-store"})

    def _sync(self, id_: str, type_: str | None, account: str) -> Synced:
        with self._making:
            stripe = self._stripe = self._stripe or Stripe.from_settings(self._settings)
        with self._pool.connection() as conn:
            return sync_object.sync_object(conn, stripe, self._policy, id_, type_, account=account)
