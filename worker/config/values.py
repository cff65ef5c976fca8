"""Parse and check single settings. Each function returns the value, or raises a ValueError that says what is wrong."""

import base64
import re
from urllib.parse import urlsplit

from psycopg.conninfo import conninfo_to_dict
from pydantic import SecretStr


def libpq_url(url: str) -> str:
    """A libpq URL or conninfo string. SQLAlchemy URLs are converted."""
    for prefix in ("postgresql+psycopg://", "postgresql+psycopg2://", "postgresql+asyncpg://"):
        if url.startswith(prefix):
            url = "postgresql://" + url.removeprefix(prefix)
    try:
        conninfo_to_dict(url)
    except Exception as error:
        raise ValueError("is not a libpq URL such as postgresql://user:password@host:5432/name") from error
    return url


def redis_url(url: str) -> str:
    """A Redis URL. The URL of a Unix socket is converted to Celery's form."""
    if not url.startswith(("redis://", "rediss://", "redis+socket://", "unix://", "sentinel://")):
        raise ValueError("is not a Redis URL such as redis://host:6379/0 (Redis Cluster can't be Celery's broker)")
    return "redis+socket://" + url.removeprefix("unix://") if url.startswith("unix://") else url


def comma_separated(value: object) -> object:
    """The parts of a comma-separated string; any other value unchanged."""
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(","))
    return value


def stripe_key(key: SecretStr) -> SecretStr:
    """A secret or restricted API key."""
    if not key.get_secret_value().startswith(("sk_", "rk_")):
        raise ValueError("must begin with sk_ or rk_ (a publishable key, pk_, can't read)")
    return key


def webhook_secrets(secrets: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
    """Signing secrets of a webhook endpoint."""
    if any(not re.fullmatch(r"whsec_[^@\s]+(@acct_\w+)?", secret.get_secret_value()) for secret in secrets):
        raise ValueError(
            "must be secrets that begin with whsec_, comma-separated (Stripe's dashboard, `stripe listen`); each may be bound "
            "to its account: whsec_...@acct_..."
        )
    return secrets


def signing_secrets(secrets: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
    """Secrets that sign calls, in the format of Standard Webhooks."""
    for secret in secrets:
        prefix, _, encoded = secret.get_secret_value().partition("_")
        try:
            length = len(base64.b64decode(encoded + "==", validate=False))
        except ValueError:
            length = 0
        if prefix != "whsec" or length < 16:
            raise ValueError(
                "must be whsec_ and at least 16 bytes in base64 (`openssl rand -base64 32`); during a rotation, list several, "
                "comma-separated"
            )
    return secrets


def http_url(url: str) -> str:
    """An absolute http or https URL without a password."""
    try:
        parts = urlsplit(url)
        is_url = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_url = False
    if not is_url:
        raise ValueError("is not an address such as https://app.example.com/hooks/stripe-sync")
    if parts.username is not None or parts.password is not None:
        raise ValueError("must not contain a user or a password: calls are signed with CHANGES_SECRET")
    return url


def keep_days(days: int) -> int:
    """A number of days above 30, because Stripe lists events for 30 days (docs.stripe.com/api/events)."""
    if days < 31:
        raise ValueError(
            "must be at least 31: Stripe lists events for 30 days, and an event removed earlier would be stored and "
            "applied again"
        )
    return days


def schedule(value: str) -> str:
    """A cron line, in UTC. A time of day such as `03:15` is converted to a cron line."""
    from celery.schedules import crontab  # slow to import, and most processes have no schedule

    value = " ".join(value.split())
    hour, colon, minute = value.partition(":")
    line = f"{int(minute)} {int(hour)} * * *" if colon and hour.isdigit() and minute.isdigit() else value
    try:
        crontab.from_string(line)
    except Exception as error:
        raise ValueError('is neither a cron line such as "15 3 * * *" nor a time such as 03:15 (UTC)') from error
    return line


def application_names(path: object) -> object:
    """The names in the file at this path; None if there is no path."""
    if path is None:
        return None
    from worker.config import names_file  # imports the tables, which most processes never need

    return names_file.read(path)


def schema_name(name: str) -> str:
    """A schema name that neither Postgres nor the daemon already uses."""
    taken = name in ("public", "sync", "mirror", "sync_names", "analytics", "information_schema") or name.startswith(
        "pg_"
    )
    if taken or not re.fullmatch(r"[a-z_][a-z0-9_]{0,62}", name):
        raise ValueError(
            f"{name} can't be the schema of the views: use lowercase letters, digits and _, as in stripe_sync"
        )
    return name


def long_enough(password: SecretStr) -> SecretStr:
    if len(password.get_secret_value()) < 12:
        raise ValueError("is shorter than 12 characters; choose a longer one (openssl rand -base64 18)")
    return password


def scrypt_hash(hashed: SecretStr) -> SecretStr:
    if not re.fullmatch(r"scrypt:\d+:\d+:\d+\$[0-9a-f]+\$[0-9a-f]{64}", hashed.get_secret_value()):
        raise ValueError("is not a hash from `stripe-sync console hash`")
    return hashed
