"""Django's settings: the database is the one that stripe-sync writes."""

import os
from urllib.parse import urlsplit

ADDRESS = os.environ["APP_URL"]
_at = urlsplit(os.environ["DATABASE_URL"])

SECRET_KEY = os.environ["SESSION_SECRET"]
ALLOWED_HOSTS = [urlsplit(ADDRESS).hostname]
ROOT_URLCONF = "app"
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
]
SESSION_ENGINE = "django.contrib.sessions.backends.signed_cookies"
SESSION_COOKIE_SAMESITE = "Lax"
USE_TZ = True
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": _at.path.lstrip("/"),
        "HOST": _at.hostname,
        "PORT": _at.port or 5432,
        "USER": _at.username,
        "PASSWORD": _at.password or "",
        # A request is one transaction: tokens are not spent for work that failed.
        "ATOMIC_REQUESTS": True,
    }
}
