"""A small SaaS application with Django: sign up, buy, a page for PREMIUM users, a feature, tokens, and calls about changes.

It shares its database with stripe-sync, which writes the access that users have paid for. Models and views are in this file.
"""

import functools
import os
import uuid
from collections.abc import Callable
from typing import Any

import django
import stripe
from settings import ADDRESS
from stripe_sync_client import Client, InvalidSignature, verify_change

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "settings")
django.setup()

from django.core.asgi import get_asgi_application  # noqa: E402 - Django has to be set up
from django.db import IntegrityError, connection, models, transaction  # noqa: E402
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse  # noqa: E402
from django.urls import path  # noqa: E402
from django.views.decorators.csrf import csrf_exempt  # noqa: E402
from django.views.decorators.http import require_GET, require_POST  # noqa: E402

stripe_sync = Client(os.environ["STRIPE_SYNC_URL"], token=os.environ["STRIPE_SYNC_TOKEN"])
stripe_api = stripe.StripeClient(
    os.environ["STRIPE_SECRET_KEY"],
    base_addresses={"api": os.environ.get("STRIPE_API_BASE", "https://api.stripe.com")},
)


class User(models.Model):
    """The table `users`; stripe-sync writes role, status, product and tokens."""

    id = models.TextField(primary_key=True)
    email = models.TextField(unique=True)
    role = models.TextField(db_default="USER")

    class Meta:
        app_label, managed, db_table = "shop", False, "users"


def select(query: str, *values: Any) -> Any:
    """Return the one value that a query gives."""
    with connection.cursor() as cursor:
        cursor.execute(query, values)
        return cursor.fetchone()[0]


def signed_in(view: Callable[[HttpRequest, User], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    @functools.wraps(view)
    def run(request: HttpRequest) -> HttpResponse:
        user = User.objects.filter(id=request.session.get("user_id", "")).first()
        return view(request, user) if user else HttpResponse("sign up first", status=401)

    return run


@require_POST
def sign_up(request: HttpRequest) -> HttpResponse:
    """Make a user. Replace this with your own sign-in: it does not check who owns the address."""
    try:
        with transaction.atomic():
            user = User.objects.create(id=str(uuid.uuid4()), email=request.POST["email"])
    except IntegrityError:
        return HttpResponse("this address has an account", status=409)
    request.session["user_id"] = user.id
    return JsonResponse({"id": user.id})


@require_POST
@signed_in
def checkout(request: HttpRequest, user: User) -> HttpResponse:
    """Send the user to Stripe. `client_reference_id` tells stripe-sync to which user the customer belongs."""
    session = stripe_api.v1.checkout.sessions.create(
        {
            "mode": "subscription",
            "line_items": [{"price": os.environ["PRICE_ID"], "quantity": 1}],
            "client_reference_id": user.id,
            "customer_email": user.email,
            "success_url": f"{ADDRESS}/checkout/return?session_id={{CHECKOUT_SESSION_ID}}",
        }
    )
    return HttpResponse(status=303, headers={"Location": session.url or ADDRESS})


@require_GET
@transaction.non_atomic_requests
@signed_in
def checkout_return(request: HttpRequest, user: User) -> HttpResponse:
    """Read the purchase from Stripe now, because Stripe's events may arrive after the user."""
    access = stripe_sync.sync(user.id, checkout_session=request.GET["session_id"])
    return HttpResponseRedirect("/premium" if access.has_access else "/")


@require_GET
@signed_in
def premium(request: HttpRequest, user: User) -> HttpResponse:
    """A page for users who have paid."""
    if user.role != "PREMIUM":
        return HttpResponse("this page is for subscribers", status=402)
    return JsonResponse({"welcome": user.email})


@require_POST
@signed_in
def export(request: HttpRequest, user: User) -> HttpResponse:
    """A feature of some products."""
    if not select("select has_feature(%s, 'export')", user.id):
        return HttpResponse("your plan has no export", status=403)
    return JsonResponse({"csv": "id,email"})


@require_POST
@signed_in
def generate(request: HttpRequest, user: User) -> HttpResponse:
    """Spend tokens in the transaction of the work, so work that fails is not charged."""
    if not select("select consume_tokens(%s, %s)", user.id, int(request.POST.get("cost", 10))):
        return HttpResponse("not enough tokens", status=402)
    return JsonResponse({"left": select("select token_balance(%s)", user.id)})


@csrf_exempt
@require_POST
def changed(request: HttpRequest) -> HttpResponse:
    """React once to a change that stripe-sync reports (CHANGES_URL); a call may arrive more than once."""
    try:
        change = verify_change(request.body, request.headers, secret=os.environ["CHANGES_SECRET"])
    except InvalidSignature:
        return HttpResponse("not signed by stripe-sync", status=400)
    messages = {"access.granted": "Welcome", "access.revoked": "We are sorry to see you go"}
    with connection.cursor() as cursor:
        # In an application of your own this table is a model with a migration.
        cursor.execute("create table if not exists handled_changes (id bigint primary key, message text not null)")
        cursor.execute(
            "insert into handled_changes values (%s, %s) on conflict do nothing",
            [change.id, messages.get(change.type, change.type)],
        )
    return HttpResponse(status=204)


urlpatterns = [
    path("sign-up", sign_up),
    path("checkout", checkout),
    path("checkout/return", checkout_return),
    path("premium", premium),
    path("export", export),
    path("generate", generate),
    path("changes", changed),
]

application = get_asgi_application()
