"""The ORM classes as an application uses them."""

from collections.abc import Iterator
from datetime import UTC, datetime

import psycopg
import pytest
from sqlalchemy import create_engine, event, select
from sqlalchemy.orm import Session, selectinload

from schema.membership import (
    Organization,
    Payment,
    StripeCustomer,
    StripePrice,
    StripeProduct,
    User,
    UserSubscription,
)
from schema.states import MembershipStatus, UserRole


@pytest.fixture
def session(database: str) -> Iterator[Session]:
    engine = create_engine("postgresql+psycopg://", creator=lambda: psycopg.connect(database))
    with Session(engine) as session:
        yield session
    engine.dispose()


def test_a_user_and_their_rows_are_read_in_a_bounded_number_of_statements(session: Session) -> None:
    product = StripeProduct(
        id="prod_1", name="Pro", prices=[StripePrice(id="price_1", currency="eur", unit_amount=900)]
    )
    session.add(product)
    session.flush()
    for number in range(3):
        session.add(
            User(
                id=f"user_{number}",
                organization=Organization(id=f"org_{number}", name="Org"),
                product=product,
                customer=StripeCustomer(stripe_customer_id=f"cus_{number}"),
                subscriptions=[
                    UserSubscription(
                        stripe_customer_id=f"cus_{number}",
                        stripe_subscription_id=f"sub_{number}",
                        status="active",
                        price=product.prices[0],
                        product=product,
                    )
                ],
                payments=[
                    Payment(
                        stripe_payment_intent_id=f"pi_{number}",
                        amount=900,
                        currency="eur",
                        status="succeeded",
                        created_at=datetime(2026, 1, 1, tzinfo=UTC),
                    )
                ],
            )
        )
    session.commit()
    session.expire_all()
    statements: list[str] = []
    event.listen(session.get_bind(), "after_cursor_execute", lambda *a: statements.append(a[2]))

    users = session.scalars(
        select(User).options(
            selectinload(User.subscriptions).selectinload(UserSubscription.price).selectinload(StripePrice.product),
            selectinload(User.payments),
            selectinload(User.customer),
            selectinload(User.organization),
            selectinload(User.product).selectinload(StripeProduct.subscriptions),
        )
    ).all()
    seen = {
        (
            user.role,
            user.membership_status,
            user.subscriptions[0].price.product.name if user.subscriptions[0].price else None,
            user.payments[0].amount,
            user.customer is not None and user.organization is not None,
            len(user.product.subscriptions) if user.product else 0,
        )
        for user in users
    }

    assert seen == {(UserRole.USER, MembershipStatus.ACTIVE, "Pro", 900, True, 3)}
    assert len(statements) <= 9
