"""An application that uses the Python client beside its own modules `schema` and `worker`, and prints the results."""

import asyncio
import importlib
import json
import os
from datetime import UTC, datetime

from sqlalchemy import create_engine, select
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.orm import Session
from standardwebhooks.webhooks import Webhook
from stripe_sync_client import (
    AsyncClient,
    Client,
    InvalidSignature,
    NotFound,
    Unauthorized,
    Unavailable,
    verify_change,
)
from stripe_sync_client.models import User
from stripe_sync_client.sql import (
    aconsume_tokens,
    ahas_feature,
    atoken_balance,
    consume_tokens,
    has_feature,
    token_balance,
)

URL, TOKEN, USER = os.environ["STRIPE_SYNC_URL"], os.environ["STRIPE_SYNC_TOKEN"], os.environ["USER_ID"]
OLD, SECRET = "whsec_b2xkIHNlY3JldCBvZiAzMiBieXRlcyBvciBtb3Jl", "whsec_bmV3IHNlY3JldCBvZiAzMiBieXRlcyBvciBtb3Jl"


def main() -> None:
    """Use every function of the client, and print the results as JSON."""
    own = [importlib.import_module(name).NAME for name in ("schema", "worker")]
    result = {"modules": own, **over_http(), **asyncio.run(over_asyncio()), **in_sql(), **in_a_call()}
    result |= {"changes": told_of(), **asyncio.run(in_asyncio())}
    print(json.dumps(result))


def over_http() -> dict[str, object]:
    """Read the access of a user before and after a sync, and cause each error."""
    with Client(URL, token=TOKEN) as client:
        before = client.access(USER)
        after = client.sync(USER)
        errors = []
        for user, token in (("nobody", TOKEN), (USER, "wrong")):
            try:
                Client(URL, token=token).access(user)
            except (NotFound, Unauthorized) as error:
                errors.append([type(error).__name__, error.status, error.code])
    try:
        Client("http://127.0.0.1:9", token=TOKEN).access(USER)
    except Unavailable as error:
        errors.append([type(error).__name__, error.status, error.code])
    return {
        "before": before.has_access,
        "after": after.has_access,
        "role": after.role,
        "tokens": after.tokens,
        "status": after.subscription and after.subscription.status,
        "errors": errors,
    }


async def over_asyncio() -> dict[str, object]:
    """Read access and changes with asyncio."""
    async with AsyncClient(URL, token=TOKEN) as client:
        access = await client.access(USER, max_age=3600)
        changes = [change async for change in client.changes(page_size=1)]
        first = next(change.id for change in changes if change.user_id == USER)
        later = [change.type async for change in client.changes(after=first) if change.user_id == USER]
    synced = access.synced_at is not None and access.synced_at < datetime.now(UTC)
    return {"stale": access.stale, "synced": synced, "later": later}


def told_of() -> list[str]:
    """The types of the user's changes, read in pages of one."""
    with Client(URL, token=TOKEN) as client:
        return [change.type for change in client.changes(page_size=1) if change.user_id == USER]


def in_sql() -> dict[str, object]:
    """Spend tokens, and read the user's row."""
    with Session(create_engine(os.environ["DATABASE_URL"])) as session, session.begin():
        spent = [consume_tokens(session, USER, 10), consume_tokens(session, USER, 10**9)]
        user = session.scalars(select(User).where(User.id == USER)).one()
        product = user.product and user.product.name
        features = [has_feature(session, USER, "export"), has_feature(session, USER, "teleport")]
        return {"spent": spent, "balance": token_balance(session, USER), "product": product, "features": features}


async def in_asyncio() -> dict[str, object]:
    """Spend with asyncio, in a transaction that is rolled back and in one that is committed."""
    engine = create_async_engine(os.environ["DATABASE_URL"])
    async with engine.connect() as connection:
        rolled_back = await aconsume_tokens(connection, USER, 1000)
        await connection.rollback()
    async with engine.begin() as connection:
        spent = [await aconsume_tokens(connection, USER, 90), await aconsume_tokens(connection, USER, 10**9)]
        features = [await ahas_feature(connection, USER, "export"), await ahas_feature(connection, USER, "teleport")]
        balance = await atoken_balance(connection, USER)
    await engine.dispose()
    return {"aspent": [rolled_back, *spent], "afeatures": features, "abalance": balance}


def in_a_call() -> dict[str, object]:
    """Verify two webhook calls about a change: one signed with the older of two secrets, and a forged one."""
    data = {"user_id": USER, "before": {"tokens": 0}, "after": {"tokens": 10}, "reason": "invoice_paid"}
    now = datetime.now(UTC)
    body = json.dumps({"type": "tokens.granted", "timestamp": now.isoformat(), "data": data})
    headers = {
        "Webhook-Id": "7",
        "Webhook-Timestamp": str(int(now.timestamp())),
        "Webhook-Signature": Webhook(OLD).sign("7", now, body),
    }
    change = verify_change(body.encode(), headers, secret=f"{SECRET},{OLD}")
    try:
        verify_change(body.replace("10", "99"), headers, secret=[SECRET, OLD])
        forged = "accepted"
    except InvalidSignature:
        forged = "refused"
    return {"change": [change.id, change.type, change.user_id, change.after["tokens"]], "forged": forged}


if __name__ == "__main__":
    main()
