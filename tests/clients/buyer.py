"""A buyer who uses an example: python buyer.py fastapi|django. It prints the answers of the example as JSON."""

import importlib
import json
import os
import sys
import urllib.request
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from standardwebhooks.webhooks import Webhook

os.environ |= {
    "APP_URL": "http://testserver",
    "SESSION_SECRET": "a secret of an example",
    "CHANGES_SECRET": "whsec_c2VjcmV0IG9mIGFuIGV4YW1wbGUgdGhhdCBzaWducw==",
}


def client(name: str) -> Any:
    """Return the framework's own test client, which has `get` and `post`."""
    module = importlib.import_module("app")
    if name == "fastapi":
        from fastapi.testclient import TestClient

        return TestClient(module.app, follow_redirects=False)
    from django.test import Client

    return Client()


def pay(session: str) -> None:
    """Pay in the sandbox, as a buyer does on Stripe's page."""
    body = json.dumps({"session": session}).encode()
    urllib.request.urlopen(f"{os.environ['STRIPE_API_BASE']}/_sandbox/stories/complete_checkout", body).close()


def tell(browser: Any, name: str, *, forged: bool = False) -> int:
    """Send the example a webhook call about a change, as the daemon does, and return the status of the answer."""
    data = {"user_id": "u", "before": {}, "after": {}, "reason": "entitled"}
    now = datetime.now(UTC)
    sent = json.dumps({"type": "access.granted", "timestamp": "2026-01-01T00:00:00Z", "data": data})
    signed = Webhook(os.environ["CHANGES_SECRET"]).sign("7", now, sent)
    headers = {"webhook-id": "7", "webhook-timestamp": str(int(now.timestamp())), "webhook-signature": signed}
    body = sent.replace("granted", "revoked") if forged else sent
    if name == "fastapi":
        return int(browser.post("/changes", content=body, headers=headers).status_code)
    return int(browser.post("/changes", body, content_type="application/json", headers=headers).status_code)


def main(name: str) -> None:
    """Use every feature of the example."""
    stranger, browser = client(name), client(name)
    seen: dict[str, Any] = {"stranger": [stranger.get("/premium").status_code, stranger.post("/generate").status_code]}
    email = {"email": f"{name}@example.com"}
    user = browser.post("/sign-up", data=email).json()["id"]
    seen["twice"] = stranger.post("/sign-up", data=email).status_code
    pages = (("get", "/premium"), ("post", "/export"), ("post", "/generate"))
    seen["before"] = [getattr(browser, method)(page).status_code for method, page in pages]
    sent = browser.post("/checkout")
    session = urlsplit(sent.headers["location"]).path.rsplit("/", 1)[-1]
    pay(session)
    back = browser.get(f"/checkout/return?session_id={session}")
    seen["checkout"] = [sent.status_code, back.headers["location"]]
    answers = [getattr(browser, method)(page) for method, page in pages]
    seen["after"] = [answer.json() for answer in answers]
    seen["too_much"] = browser.post("/generate", data={"cost": 10**9}).status_code
    seen["changes"] = [tell(browser, name), tell(browser, name), tell(browser, name, forged=True)]
    print(json.dumps({"user": user, **seen}))


if __name__ == "__main__":
    main(sys.argv[1])
