"""The HTTP client, for threads and for asyncio."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import httpx

from stripe_sync_client.errors import Unavailable, error_of
from stripe_sync_client.types import Access, Change, access_of, change_of

# The daemon waits up to two seconds for Stripe. If Stripe did not confirm the access in time, `stale` is true.
TIMEOUT_SECONDS = 10.0
PAGE_SIZE = 100


class Client:
    """A client for threads. Close it, or use it in a `with` block. Every method may raise ApiError."""

    def __init__(
        self,
        base_url: str,
        *,
        token: str,
        timeout: float = TIMEOUT_SECONDS,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._http = httpx.Client(base_url=base_url, headers=_headers(token), timeout=timeout, transport=transport)

    def access(self, user_id: str, *, max_age: float | None = None) -> Access:
        """Return a user's access. If Stripe did not confirm it within the last `max_age` seconds (60), `stale` is true."""
        return access_of(self._send("GET", _access_path(user_id), params=_without_none(max_age=max_age)))

    def sync(self, user_id: str, *, checkout_session: str | None = None) -> Access:
        """Read the user's subscriptions and the Checkout session from Stripe now, and return the resulting access."""
        body = _without_none(checkout_session=checkout_session)
        return access_of(self._send("POST", _sync_path(user_id), json=body))

    def changes(self, *, after: int = 0, page_size: int = PAGE_SIZE) -> Iterator[Change]:
        """Yield all changes after this id, oldest first. `page_size` is the number of changes per request."""
        while True:
            page = self._send("GET", "/v1/changes", params={"after": after, "limit": page_size})
            for each in page["data"]:
                after = each["id"]
                yield change_of(each, id=after, user_id=each["user_id"])
            if not page["has_more"]:
                return

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _send(self, method: str, path: str, **options: Any) -> Any:
        try:
            return _read(self._http.request(method, path, **options))
        except httpx.TransportError as error:
            raise _unavailable(error) from error


class AsyncClient:
    """The same client for asyncio."""

    def __init__(
        self,
        base_url: str,
        *,
        token: str,
        timeout: float = TIMEOUT_SECONDS,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._http = httpx.AsyncClient(base_url=base_url, headers=_headers(token), timeout=timeout, transport=transport)

    async def access(self, user_id: str, *, max_age: float | None = None) -> Access:
        """Return a user's access. If Stripe did not confirm it within the last `max_age` seconds (60), `stale` is true."""
        return access_of(await self._send("GET", _access_path(user_id), params=_without_none(max_age=max_age)))

    async def sync(self, user_id: str, *, checkout_session: str | None = None) -> Access:
        """Read the user's subscriptions and the Checkout session from Stripe now, and return the resulting access."""
        body = _without_none(checkout_session=checkout_session)
        return access_of(await self._send("POST", _sync_path(user_id), json=body))

    async def changes(self, *, after: int = 0, page_size: int = PAGE_SIZE) -> AsyncIterator[Change]:
        """Yield all changes after this id, oldest first. `page_size` is the number of changes per request."""
        while True:
            page = await self._send("GET", "/v1/changes", params={"after": after, "limit": page_size})
            for each in page["data"]:
                after = each["id"]
                yield change_of(each, id=after, user_id=each["user_id"])
            if not page["has_more"]:
                return

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _send(self, method: str, path: str, **options: Any) -> Any:
        try:
            return _read(await self._http.request(method, path, **options))
        except httpx.TransportError as error:
            raise _unavailable(error) from error


def _headers(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


def _access_path(user_id: str) -> str:
    return f"/v1/users/{quote(user_id, safe='')}/access"


def _sync_path(user_id: str) -> str:
    return f"/v1/users/{quote(user_id, safe='')}/sync"


def _without_none(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _read(answer: httpx.Response) -> Any:
    try:
        body = answer.json()
    except ValueError:
        body = None
    if answer.is_success and body is not None:
        return body
    raise error_of(answer.status_code, body)


def _unavailable(error: httpx.TransportError) -> Unavailable:
    return Unavailable(0, "unavailable", f"stripe-sync does not answer ({type(error).__name__})")
