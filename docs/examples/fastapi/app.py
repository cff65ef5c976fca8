"""A small SaaS application with FastAPI: sign up, buy, a page for PREMIUM users, a feature, tokens, and calls about changes.

It shares its database with stripe-sync, which writes the access that users have paid for.
"""

import os
import uuid
from collections.abc import Iterator
from typing import Annotated

import stripe
from fastapi import Depends, FastAPI, Form, HTTPException, Request, Response
from fastapi.responses import RedirectResponse
from sqlalchemy import create_engine, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session
from starlette.concurrency import run_in_threadpool
from starlette.middleware.sessions import SessionMiddleware
from stripe_sync_client import Change, Client, InvalidSignature, verify_change
from stripe_sync_client.models import User
from stripe_sync_client.sql import consume_tokens, has_feature, token_balance

ADDRESS = os.environ["APP_URL"]
engine = create_engine(os.environ["DATABASE_URL"])
stripe_sync = Client(os.environ["STRIPE_SYNC_URL"], token=os.environ["STRIPE_SYNC_TOKEN"])
stripe_api = stripe.StripeClient(
    os.environ["STRIPE_SECRET_KEY"],
    base_addresses={"api": os.environ.get("STRIPE_API_BASE", "https://api.stripe.com")},
)
app = FastAPI()
app.add_middleware(SessionMiddleware, secret_key=os.environ["SESSION_SECRET"], same_site="lax")

# Changes that this application has handled, because a call may arrive more than once.
with engine.begin() as connection:
    connection.execute(
        text("create table if not exists handled_changes (id bigint primary key, message text not null)")
    )


def database() -> Iterator[Session]:
    """One transaction for each request."""
    with Session(engine) as session, session.begin():
        yield session


Database = Annotated[Session, Depends(database)]


def signed_in(request: Request, db: Database) -> User:
    user = db.get(User, request.session.get("user_id", ""))
    if user is None:
        raise HTTPException(401, "sign up first")
    return user


SignedIn = Annotated[User, Depends(signed_in)]


@app.post("/sign-up")
def sign_up(request: Request, db: Database, email: Annotated[str, Form()]) -> dict[str, str]:
    """Make a user. Replace this with your own sign-in: it does not check who owns the address."""
    user = User(id=str(uuid.uuid4()), email=email)
    db.add(user)
    try:
        db.flush()
    except IntegrityError as error:
        raise HTTPException(409, "this address has an account") from error
    request.session["user_id"] = user.id
    return {"id": user.id}


@app.post("/checkout")
def checkout(user: SignedIn) -> RedirectResponse:
    """Send the user to Stripe. `client_reference_id` tells stripe-sync to which user the customer belongs."""
    session = stripe_api.v1.checkout.sessions.create(
        {
            "mode": "subscription",
            "line_items": [{"price": os.environ["PRICE_ID"], "quantity": 1}],
            "client_reference_id": user.id,
            "customer_email": user.email or "",
            "success_url": f"{ADDRESS}/checkout/return?session_id={{CHECKOUT_SESSION_ID}}",
        }
    )
    return RedirectResponse(session.url or ADDRESS, 303)


@app.get("/checkout/return")
def checkout_return(request: Request, session_id: str) -> RedirectResponse:
    """Read the purchase from Stripe now, because Stripe's events may arrive after the user."""
    if "user_id" not in request.session:
        raise HTTPException(401, "sign up first")
    access = stripe_sync.sync(request.session["user_id"], checkout_session=session_id)
    return RedirectResponse("/premium" if access.has_access else "/", 303)


@app.get("/premium")
def premium(user: SignedIn) -> dict[str, str]:
    """A page for users who have paid."""
    if user.role.value != "PREMIUM":
        raise HTTPException(402, "this page is for subscribers")
    return {"welcome": user.email or user.id}


@app.post("/export")
def export(user: SignedIn, db: Database) -> dict[str, str]:
    """A feature of some products."""
    if not has_feature(db, user.id, "export"):
        raise HTTPException(403, "your plan has no export")
    return {"csv": "id,email"}


@app.post("/generate")
def generate(user: SignedIn, db: Database, cost: Annotated[int, Form(gt=0)] = 10) -> dict[str, int]:
    """Spend tokens in the transaction of the work, so work that fails is not charged."""
    if not consume_tokens(db, user.id, cost):
        raise HTTPException(402, "not enough tokens")
    return {"left": token_balance(db, user.id)}


@app.post("/changes")
async def changed(request: Request) -> Response:
    """React to a change that stripe-sync reports (CHANGES_URL)."""
    try:
        change = verify_change(await request.body(), request.headers, secret=os.environ["CHANGES_SECRET"])
    except InvalidSignature as error:
        raise HTTPException(400, "not signed by stripe-sync") from error
    await run_in_threadpool(handle, change)
    return Response(status_code=204)


def handle(change: Change) -> None:
    """Handle a change once: the message and the note that it was handled are written in one transaction."""
    message = {"access.granted": "Welcome", "access.revoked": "We are sorry to see you go"}.get(
        change.type, change.type
    )
    with engine.begin() as db:
        db.execute(
            text("insert into handled_changes (id, message) values (:id, :message) on conflict do nothing"),
            {"id": change.id, "message": message},
        )
