"""API keys: a test key may do everything unless it is restricted or has expired."""

import base64
import binascii

from sandbox.errors import StripeError


class Keys:
    """The restricted and expired keys."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Remove all restrictions."""
        self.expired: set[str] = set()
        self.denied: dict[str, set[str]] = {}

    def restrict(self, key: str, denied: set[str]) -> None:
        """Create a restricted key that lacks some permissions: `product` (both), `product_read`, `product_write`."""
        lacking = {
            f"rak_{name}" if name.endswith(("_read", "_write")) else f"rak_{name}_{verb}"
            for name in denied
            for verb in ("read", "write")
        }
        self.denied[key] = lacking

    def authenticate(self, authorization: str | None) -> str:
        """The key of a request, or the error for a missing or wrong one."""
        key = _key_in(authorization or "")
        if not key:
            raise StripeError(
                401,
                "You did not provide an API key. You need to provide your API key in the Authorization header, using "
                "Bearer auth (e.g. 'Authorization: Bearer YOUR_SECRET_KEY').",
                headers={"WWW-Authenticate": 'Bearer realm="Stripe"'},
            )
        if key in self.expired:
            raise StripeError(401, f"Expired API Key provided: {_masked(key)}", code="api_key_expired")
        if not key.startswith("sk_test_") and key not in self.denied:
            raise StripeError(401, f"Invalid API Key provided: {_masked(key)}")
        return key

    def authorize(self, key: str, resource: str, method: str) -> None:
        """Refuse an operation for which a restricted key lacks the permission."""
        permission = f"rak_{resource}_{'read' if method == 'GET' else 'write'}"
        if permission in self.denied.get(key, ()):
            raise StripeError(
                403,
                f"The provided key '{_masked(key)}' does not have the required permissions for this endpoint on account "
                f"'acct_sandbox'. Having the '{permission}' permission would allow this request to continue.",
            )


def _key_in(authorization: str) -> str:
    scheme, _, value = authorization.partition(" ")
    if scheme.lower() == "bearer":
        return value.strip()
    if scheme.lower() == "basic":
        try:
            return base64.b64decode(value).decode().partition(":")[0]
        except (binascii.Error, UnicodeDecodeError):
            return ""
    return ""


def _masked(key: str) -> str:
    return f"{key[:8]}{'*' * max(len(key) - 12, 0)}{key[-4:]}" if len(key) > 12 else key
