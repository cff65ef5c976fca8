"""A client of stripe-sync: read a user's access, features and tokens, and verify the requests that report a change."""

from stripe_sync_client.changes import InvalidSignature, verify_change
from stripe_sync_client.client import AsyncClient, Client
from stripe_sync_client.errors import ApiError, BadRequest, Conflict, NotFound, Unauthorized, Unavailable
from stripe_sync_client.types import Access, Change, Product, Subscription

__all__ = [
    "Access",
    "ApiError",
    "AsyncClient",
    "BadRequest",
    "Change",
    "Client",
    "Conflict",
    "InvalidSignature",
    "NotFound",
    "Product",
    "Subscription",
    "Unauthorized",
    "Unavailable",
    "verify_change",
]
