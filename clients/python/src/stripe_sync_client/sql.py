"""The SQL functions of stripe-sync, for a session or connection of SQLAlchemy. They run in the caller's transaction."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, func, select
from sqlalchemy.orm import Session

if TYPE_CHECKING:
    # Importing these needs greenlet, which an application without asyncio does not have.
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession


def consume_tokens(session: Session | Connection, user_id: str, tokens: int) -> bool:
    """Spend a user's tokens if there are enough, and return whether they were spent. `tokens` must be more than 0."""
    return bool(session.execute(select(func.consume_tokens(user_id, tokens))).scalar_one())


def token_balance(session: Session | Connection, user_id: str) -> int:
    """Return the tokens that a user can spend now."""
    return int(session.execute(select(func.token_balance(user_id))).scalar_one())


def has_feature(session: Session | Connection, user_id: str, feature: str) -> bool:
    """Return whether a user has a feature."""
    return bool(session.execute(select(func.has_feature(user_id, feature))).scalar_one())


async def aconsume_tokens(session: AsyncSession | AsyncConnection, user_id: str, tokens: int) -> bool:
    """`consume_tokens` for asyncio."""
    return bool(await _scalar(session, func.consume_tokens(user_id, tokens)))


async def atoken_balance(session: AsyncSession | AsyncConnection, user_id: str) -> int:
    """`token_balance` for asyncio."""
    return int(await _scalar(session, func.token_balance(user_id)))


async def ahas_feature(session: AsyncSession | AsyncConnection, user_id: str, feature: str) -> bool:
    """`has_feature` for asyncio."""
    return bool(await _scalar(session, func.has_feature(user_id, feature)))


async def _scalar(session: AsyncSession | AsyncConnection, call: Any) -> Any:
    return (await session.execute(select(call))).scalar_one()
