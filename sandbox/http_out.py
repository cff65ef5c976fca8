"""POST to webhook endpoints: HTTP/1.1 over kept connections, without redirects."""

import asyncio
import ssl
from contextlib import suppress
from urllib.parse import urlsplit

_Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]
_KEPT = 32


class Poster:
    """Posts bodies and returns the status. If the request fails without an answer, the status is 0."""

    def __init__(self) -> None:
        self._idle: dict[tuple[str, str, int], list[_Connection]] = {}

    async def post(self, url: str, body: bytes, headers: dict[str, str], *, timeout_seconds: float) -> int:
        """Post once and return the answer's status."""
        try:
            async with asyncio.timeout(timeout_seconds):
                return await self._post(url, body, headers)
        except (OSError, TimeoutError, ValueError, asyncio.IncompleteReadError):
            return 0

    def close(self) -> None:
        """Close all kept connections."""
        for connections in self._idle.values():
            for _, writer in connections:
                writer.close()
        self._idle.clear()

    async def _post(self, url: str, body: bytes, headers: dict[str, str]) -> int:
        parts = urlsplit(url)
        secure = parts.scheme == "https"
        place = (parts.scheme, parts.hostname or "", parts.port or (443 if secure else 80))
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        lines = [f"POST {target} HTTP/1.1", f"Host: {parts.netloc}", f"Content-Length: {len(body)}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        request = "\r\n".join(lines).encode() + b"\r\n\r\n" + body
        while kept := self._idle.get(place):
            # The other side may have closed a kept connection meanwhile. Then another connection is tried.
            with suppress(OSError, asyncio.IncompleteReadError):
                return await self._exchange(place, kept.pop(), request)
        context = ssl.create_default_context() if secure else None
        opened = await asyncio.open_connection(place[1], place[2], ssl=context)
        return await self._exchange(place, opened, request)

    async def _exchange(self, place: tuple[str, str, int], connection: _Connection, request: bytes) -> int:
        reader, writer = connection
        reusable = False
        try:
            writer.write(request)
            await writer.drain()
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            status_line, *lines = head.rstrip().split("\r\n")
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
            await _read_body(reader, headers)
            reusable = headers.get("connection", "").lower() != "close"
            return int(status_line.split(" ", 2)[1])
        finally:
            idle = self._idle.setdefault(place, [])
            if reusable and len(idle) < _KEPT:
                idle.append(connection)
            else:
                writer.close()


async def _read_body(reader: asyncio.StreamReader, headers: dict[str, str]) -> None:
    if headers.get("transfer-encoding", "").lower() == "chunked":
        while size := int((await reader.readuntil(b"\r\n")).split(b";")[0], 16):
            await reader.readexactly(size + 2)
        await reader.readuntil(b"\r\n")
    elif "content-length" in headers:
        await reader.readexactly(int(headers["content-length"]))
    else:
        headers["connection"] = "close"
        await reader.read()
