"""The application's queries. For fifty users they need no more statements than for one."""

import gc
import subprocess
import sys
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from sqlalchemy import Engine, create_engine, event, inspect
from sqlalchemy.orm import Session

from schema import queries
from schema.membership import Organization, Payment, StripeCustomer, StripePrice, StripeProduct, User, UserSubscription

START = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def engine(database: str) -> Iterator[Engine]:
    engine = create_engine("postgresql+psycopg://", creator=lambda: psycopg.connect(database))
    yield engine
    engine.dispose()


@pytest.fixture
def session(engine: Engine) -> Iterator[Session]:
    with Session(engine) as session:
        yield session


@contextmanager
def counted(engine: Engine) -> Iterator[list[str]]:
    statements: list[str] = []

    def count(*arguments: object) -> None:
        statements.append(str(arguments[2]))

    event.listen(engine, "after_cursor_execute", count)
    yield statements
    event.remove(engine, "after_cursor_execute", count)


def subscription(name: str, status: str, **more: object) -> UserSubscription:
    return UserSubscription(
        stripe_customer_id="cus", stripe_subscription_id=f"sub_{name}", id=f"sub_{name}", status=status, **more
    )


def fill(session: Session, users: int) -> None:
    """Insert this many users, each with their own product, three subscriptions and two payments."""
    for number in range(users):
        product = StripeProduct(id=f"prod_{number:02}", name="Pro")
        price = StripePrice(id=f"price_{number:02}", product=product, currency="eur", unit_amount=900)
        session.add(
            User(
                id=f"user_{number:02}",
                organization=Organization(id=f"org_{number:02}", name="Org"),
                product=product,
                customer=StripeCustomer(stripe_customer_id=f"cus_{number:02}"),
                subscriptions=[
                    subscription(f"{number:02}_{status}", status, product=product, price=price)
                    for status in ("active", "trialing", "canceled")
                ],
                payments=[
                    Payment(
                        stripe_payment_intent_id=f"pi_{number:02}_{paid}",
                        amount=900,
                        currency="eur",
                        status="succeeded",
                        product=product,
                        created_at=START + timedelta(days=paid),
                    )
                    for paid in range(2)
                ],
            )
        )
    session.commit()
    session.expunge_all()


def walked(user: User) -> list[object]:
    """Read everything that is loaded with a user."""
    return [
        user.product and user.product.name,
        user.organization and user.organization.name,
        user.customer and user.customer.stripe_customer_id,
        *(
            (each.status, each.product and each.product.name, each.price and each.price.id)
            for each in user.subscriptions
        ),
    ]


@pytest.mark.parametrize("users", [1, 50])
def test_the_number_of_statements_does_not_grow_with_the_number_of_users(
    engine: Engine, session: Session, users: int
) -> None:
    fill(session, users)

    with counted(engine) as statements:
        page = queries.users_with_subscriptions(session)
        seen = [walked(user) for user in page.items]

    assert len(seen) == users
    assert sorted(each[0] for each in seen[0][3:]) == ["active", "trialing"]  # type: ignore[index]
    # One each for users, products, organizations, customers, subscriptions and the subscriptions' prices.
    assert len(statements) <= 7


def test_a_user_is_read_with_current_subscriptions_only(engine: Engine, session: Session) -> None:
    fill(session, 2)
    known = session.get_one(User, "user_01")
    assert len(known.subscriptions) == 3

    with counted(engine) as statements:
        user = queries.user_with_subscriptions(session, "user_01")
        assert user is not None
        seen = walked(user)

    assert sorted(each[0] for each in seen[3:]) == ["active", "trialing"]  # type: ignore[index]
    assert len(statements) <= 7
    assert queries.user_with_subscriptions(session, "nobody") is None


def test_the_active_subscription_is_that_of_the_user_s_product_or_else_the_last_to_end(
    engine: Engine, session: Session
) -> None:
    small, big = (
        StripeProduct(id=id_, name=id_, prices=[StripePrice(id=f"price_{id_}", currency="eur")])
        for id_ in ("small", "big")
    )
    later, sooner = START + timedelta(days=60), START
    session.add_all(
        [
            User(
                id="u",
                product=big,
                subscriptions=[
                    subscription("small", "active", product=small, price=small.prices[0], current_period_end=later),
                    subscription("big", "trialing", product=big, price=big.prices[0], current_period_end=sooner),
                    subscription("ended", "canceled", product=big, current_period_end=later),
                ],
            ),
            User(
                id="none_of_it",
                subscriptions=[
                    subscription("b1", "active", product=small, current_period_end=sooner),
                    subscription("b2", "active", product=small, current_period_end=later),
                    subscription("b3", "active", product=small),
                ],
            ),
            User(id="nothing", subscriptions=[subscription("unpaid", "past_due", product=big)]),
        ]
    )
    session.commit()
    session.expunge_all()

    with counted(engine) as statements:
        result = queries.active_subscription(session, "u")
        assert result is not None
        assert result.product is not None
        assert result.price is not None
        seen = (result.id, result.product.name, result.price.id)

    longest = queries.active_subscription(session, "none_of_it")
    assert seen == ("sub_big", "big", "price_big")
    assert len(statements) == 1
    assert longest is not None
    assert longest.id == "sub_b2"
    assert queries.active_subscription(session, "nothing") is None


def test_payments_are_read_in_pages_newest_first(engine: Engine, session: Session) -> None:
    fill(session, 1)
    # These payments have the same time. Their order must still be the same on each page.
    for number in range(21):
        session.add(
            Payment(
                id=f"at_once_{number:02}",
                user_id="user_00",
                stripe_payment_intent_id=f"pi_{number}",
                amount=1,
                currency="eur",
                status="succeeded",
                stripe_product_id="prod_00",
                created_at=START + timedelta(days=9),
            )
        )
    session.commit()
    session.expunge_all()

    seen: list[str] = []
    offset: int | None = 0
    with counted(engine) as statements:
        while offset is not None:
            page = queries.payment_history(session, "user_00", limit=10, offset=offset)
            assert all(payment.product is not None and payment.product.name == "Pro" for payment in page.items)
            seen += [payment.stripe_payment_intent_id for payment in page.items]
            offset = page.next_offset

    assert seen == [*(f"pi_{number}" for number in range(21)), "pi_00_1", "pi_00_0"]
    assert len(statements) <= 3 * 2
    assert queries.payment_history(session, "nobody").items == []


def test_the_last_page_has_no_more(session: Session) -> None:
    fill(session, 4)

    whole = queries.users_with_subscriptions(session, limit=4)
    part = queries.users_with_subscriptions(session, limit=3)

    assert (whole.has_more, whole.next_offset) == (False, None)
    assert (part.has_more, part.next_offset) == (True, 3)
    assert [user.id for user in part.items] == ["user_00", "user_01", "user_02"]


@pytest.mark.parametrize(("limit", "offset", "says"), [(0, 0, "limit"), (501, 0, "limit"), (1, -1, "offset")])
def test_an_invalid_page_is_refused(session: Session, limit: int, offset: int, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        queries.payment_history(session, "u", limit=limit, offset=offset)


@pytest.fixture
def shop(session: Session) -> Session:
    """Two products for sale, one with an additional inactive price, and a product that is not for sale."""
    session.add_all(
        [
            StripeProduct(
                id="pro",
                name="Pro",
                metadata_={"tokens": "5"},
                prices=[
                    StripePrice(id="yearly", currency="eur", unit_amount=9000, interval="year"),
                    StripePrice(id="monthly", currency="eur", unit_amount=900, interval="month"),
                    StripePrice(id="tiers", currency="eur"),
                    StripePrice(id="old", currency="eur", unit_amount=1, active=False),
                ],
            ),
            StripeProduct(id="basic", name="Basic"),
            StripeProduct(id="gone", name="Gone", active=False, prices=[StripePrice(id="p", currency="eur")]),
        ]
    )
    session.commit()
    return session


def test_the_catalogue_is_read_with_its_prices_in_two_statements(engine: Engine, shop: Session) -> None:
    with counted(engine) as statements:
        basic, pro = queries.active_products(engine)

    assert (basic.id, basic.prices) == ("basic", ())
    assert [price.id for price in pro.prices] == ["monthly", "yearly", "tiers"]
    assert pro.metadata == {"tokens": "5"}
    assert len(statements) == 2
    with pytest.raises(TypeError):
        pro.metadata["tokens"] = "6"  # type: ignore[index]


def test_the_catalogue_is_read_again_after_five_minutes_or_after_forget(engine: Engine, shop: Session) -> None:
    clock = [1000.0]

    def names() -> list[str]:
        return [product.name for product in queries.active_products(engine, now=lambda: clock[0])]

    names()
    shop.get_one(StripeProduct, "pro").name = "Professional"
    shop.commit()
    clock[0] += 299
    kept = names()
    clock[0] += 1
    read_again = names()
    shop.get_one(StripeProduct, "pro").name = "Pro again"
    shop.commit()
    queries.forget_products(engine)

    assert (kept, read_again, names()) == (["Basic", "Pro"], ["Basic", "Professional"], ["Basic", "Pro again"])


def test_twenty_concurrent_threads_read_the_catalogue_once(engine: Engine, shop: Session) -> None:
    go = threading.Barrier(20)
    seen: list[int] = []

    def ask() -> None:
        go.wait()
        seen.append(len(queries.active_products(engine)))

    with counted(engine) as statements:
        threads = [threading.Thread(target=ask) for _ in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert seen == [2] * 20
    assert len(statements) == 2


def test_each_engine_has_its_own_catalogue_which_is_freed_with_it(database: str, engine: Engine, shop: Session) -> None:
    other = create_engine("postgresql+psycopg://", creator=lambda: psycopg.connect(database))
    queries.active_products(engine)
    shop.get_one(StripeProduct, "pro").active = False
    shop.commit()

    seen = (len(queries.active_products(engine)), len(queries.active_products(other)))
    other.dispose()
    gone = weakref.ref(other)
    del other
    gc.collect()

    assert seen == (2, 1)
    assert gone() is None


def test_nothing_is_loaded_lazily(session: Session) -> None:
    fill(session, 1)

    user = queries.user_with_subscriptions(session, "user_00")

    assert user is not None
    assert {"payments", "accounts", "sessions"} <= set(inspect(user).unloaded)


def test_an_application_needs_only_sqlalchemy() -> None:
    program = """
import sys

class Nothing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"worker", "migrations", "psycopg", "alembic", "celery", "stripe", "redis", "pydantic",
                "structlog", "msgspec", "starlette", "rich", "typer", "prometheus_client", "urllib3"}:
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Nothing())
import schema.queries
print(sorted({name.partition(".")[0] for name in sys.modules} & {"sqlalchemy", "schema", "worker"}))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)

    assert done.returncode == 0, done.stderr
    assert done.stdout == "['schema', 'sqlalchemy']\n"
