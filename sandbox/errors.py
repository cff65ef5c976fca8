"""The errors in Stripe's answers."""

from typing import Any


class StripeError(Exception):
    """An error as Stripe answers it."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        type: str = "invalid_request_error",
        code: str | None = None,
        param: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.type = type
        self.code = code
        self.param = param
        self.headers = headers or {}

    def body(self, request_id: str) -> dict[str, Any]:
        """The JSON of the answer, without empty fields."""
        error: dict[str, Any] = {"message": self.message, "type": self.type}
        if self.code is not None:
            error["code"] = self.code
            error["doc_url"] = f"https://stripe.com/docs/error-codes/{self.code.replace('_', '-')}"
        if self.param is not None:
            error["param"] = self.param
        error["request_log_url"] = f"https://dashboard.stripe.com/test/logs/{request_id}"
        return {"error": error}


def invalid(message: str, param: str | None = None, code: str | None = None) -> StripeError:
    """The error for an invalid request."""
    return StripeError(400, message, param=param, code=code)


def missing(kind: str, id: str, *, param: str = "id", status: int = 404) -> StripeError:
    """The error for an unknown id: 404 if it was in the path, 400 if it was a parameter."""
    words = {"checkout.session": "checkout session", "payment_method": "PaymentMethod"}.get(kind, kind)
    return StripeError(status, f"No such {words}: '{id}'", code="resource_missing", param=param)
