"""The environment, read once at start into one frozen value; every fault is named together, with its mend."""

import enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from psycopg.conninfo import conninfo_to_dict
from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from worker.config import address
from worker.config.errors import Permanent

if TYPE_CHECKING:
    from schema.names import Names


class AppEnv(enum.StrEnum):
    DEVELOPMENT = "development"
    TEST = "test"
    STAGING = "staging"
    PRODUCTION = "production"


class LogFormat(enum.StrEnum):
    JSON = "json"
    CONSOLE = "console"


class TokenPolicy(enum.StrEnum):
    RESET = "reset"
    ADD = "add"


class Pooler(enum.StrEnum):
    """What stands between us and Postgres."""

    NONE = "none"
    TRANSACTION = "transaction"


class ConfigError(Permanent):
    """A setting is missing or wrong."""


def _libpq(url: str) -> str:
    """A libpq URL or conninfo: SQLAlchemy's spelling is accepted, and read as libpq's."""
    for prefix in ("postgresql+psycopg://", "postgresql+psycopg2://", "postgresql+asyncpg://"):
        if url.startswith(prefix):
            url = "postgresql://" + url.removeprefix(prefix)
    try:
        conninfo_to_dict(url)
    except Exception as error:
        raise ValueError("is not a libpq URL such as postgresql://user:password@host:5432/name") from error
    return url


def _redis(url: str) -> str:
    if not url.startswith(("redis://", "rediss://", "redis+socket://", "unix://", "sentinel://")):
        raise ValueError("is not a Redis URL such as redis://host:6379/0 (Redis Cluster can't be Celery's broker)")
    return "redis+socket://" + url.removeprefix("unix://") if url.startswith("unix://") else url


def _secrets(value: object) -> object:
    if isinstance(value, str):
        return tuple(secret.strip() for secret in value.split(","))
    return value


def _can_read(key: SecretStr) -> SecretStr:
    if not key.get_secret_value().startswith(("sk_", "rk_")):
        raise ValueError("begins with sk_ or rk_ (a publishable key, pk_, can't read)")
    return key


def _none_is_empty(secrets: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
    if any(not secret.get_secret_value().startswith("whsec_") for secret in secrets):
        raise ValueError(
            "each of its comma-separated secrets begins with whsec_ (Stripe's dashboard, or `stripe listen`)"
        )
    return secrets


def _outlives_stripes_list(days: int) -> int:
    if days < 31:
        raise ValueError(
            "is at least 31: Stripe lists and replays events for 30 days, and one that was removed before would be taken "
            "for new"
        )
    return days


Seconds = Annotated[float, Field(gt=0)]


def _schedule(value: str) -> str:
    """A cron line: `03:15`, a time of every day (UTC), is another way to write one."""
    from celery.schedules import crontab  # only who sets a schedule pays for it

    value = " ".join(value.split())
    hour, colon, minute = value.partition(":")
    line = f"{int(minute)} {int(hour)} * * *" if colon and hour.isdigit() and minute.isdigit() else value
    try:
        crontab.from_string(line)
    except Exception as error:
        raise ValueError('is neither a cron line such as "15 3 * * *" nor a time such as 03:15 (UTC)') from error
    return line


def _names(path: object) -> object:
    if path is None:
        return None
    from worker.config import names_file  # needs the tables, which most processes never load

    return names_file.read(path)


class Settings(BaseSettings):
    """What the environment says. Times are in seconds unless the name says days."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True, env_ignore_empty=True)

    database_url: Annotated[str, Field(min_length=1), AfterValidator(_libpq)]
    redis_url: Annotated[str, Field(min_length=1), AfterValidator(_redis)]
    app_env: AppEnv = AppEnv.PRODUCTION

    stripe_secret_key: Annotated[SecretStr, AfterValidator(_can_read)] | None = None
    stripe_webhook_secret: Annotated[
        tuple[SecretStr, ...], NoDecode, BeforeValidator(_secrets), AfterValidator(_none_is_empty)
    ] = ()
    stripe_livemode: bool | None = None
    stripe_api_base: str = "https://api.stripe.com"

    api_token: SecretStr | None = None
    admin_email: str | None = None

    host: str = "0.0.0.0"  # noqa: S104 - a web process in a container serves what its port is mapped to
    port: Annotated[int, Field(ge=0, le=65535)] = 8000
    web_concurrency: Annotated[int, Field(ge=1)] = 1
    worker_concurrency: Annotated[int, Field(ge=1)] = 2

    log_format: LogFormat | None = None
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    # Who migrates, past any pooler; the same as the others where nothing is said.
    database_owner_url: Annotated[str, Field(min_length=1), AfterValidator(_libpq)] | None = None
    database_pooler: Pooler = Pooler.NONE
    database_pool_size: Annotated[int, Field(ge=3)] = 4
    database_sslmode: Literal["disable", "allow", "prefer", "require", "verify-ca", "verify-full"] | None = None
    database_allow_plain: bool = False
    database_connect_timeout: Annotated[int, Field(ge=1)] = 5
    database_statement_timeout: Seconds = 60
    database_lock_timeout: Seconds = 20
    database_idle_in_transaction_timeout: Seconds = 60
    # How long a peer may be silent on the network before it is given up.
    database_tcp_timeout: Annotated[int, Field(ge=6)] = 30

    event_batch_size: Annotated[int, Field(ge=1, le=5000)] = 500
    event_lease: Seconds = 45
    event_max_attempts: Annotated[int, Field(ge=1)] = 8
    wake_interval: Seconds = 15
    product_refresh_interval: Seconds = 300
    reconcile_interval: Seconds = 3600
    catch_up_interval: Seconds = 60
    audit_interval: Seconds = 300

    events_keep_days: Annotated[int, AfterValidator(_outlives_stripes_list)] = 35
    # Off: the mirror alone, and nothing of `public` is read or written.
    membership: bool = True
    # A file with the application's names for the tables and columns that we know; `stripe-sync db adopt` reads it.
    stripe_sync_config: Annotated[Any, NoDecode, BeforeValidator(_names)] = None

    past_due_grace_days: Annotated[int, Field(ge=0)] | None = None
    token_policy: TokenPolicy = TokenPolicy.RESET
    token_ttl_days: Annotated[int, Field(ge=1)] = 30
    # What the empty invoice of a trial grants, once; 0 grants nothing, and the first paid period grants as ever.
    trial_tokens: Annotated[int, Field(ge=0, le=999_999_999)] = 0

    backup_dir: Path | None = None
    backup_wal_dir: Path | None = None
    backup_database_url: Annotated[str, AfterValidator(_libpq)] | None = None
    backup_pg_bin: Path | None = None
    backup_schedule: Annotated[str, AfterValidator(_schedule)] | None = None
    backup_kind: Literal["logical", "physical"] = "logical"
    backup_timeout: Seconds = 6 * 3600
    backup_keep_daily: Annotated[int, Field(ge=0)] = 7
    backup_keep_weekly: Annotated[int, Field(ge=0)] = 4
    backup_keep_monthly: Annotated[int, Field(ge=0)] = 6

    @model_validator(mode="after")
    def _knows_where_backups_go(self) -> "Settings":
        if self.backup_schedule is not None and self.backup_dir is None:
            raise ValueError("BACKUP_DIR: is not set; BACKUP_SCHEDULE needs it, to know where backups are kept")
        return self

    @model_validator(mode="after")
    def _knows_its_mode(self) -> "Settings":
        key = self.stripe_secret_key.get_secret_value() if self.stripe_secret_key else None
        if key is not None and self.stripe_livemode is not None and ("_live_" in key) != self.stripe_livemode:
            raise ValueError("STRIPE_LIVEMODE: contradicts the mode of STRIPE_SECRET_KEY; set one of them right")
        return self

    @model_validator(mode="after")
    def _is_encrypted_in_production(self) -> "Settings":
        if self.app_env is not AppEnv.PRODUCTION or self.database_allow_plain:
            return self
        for name, url in (("DATABASE_URL", self.database_url), ("DATABASE_OWNER_URL", self.database_owner_url)):
            if url is None or address.is_local(url):
                continue
            mode = self.database_sslmode or address.sslmode(url)
            if mode in address.PLAIN:
                raise ValueError(
                    f"DATABASE_SSLMODE: {mode} may send passwords and data in plain text to the host of {name}; in "
                    "production set verify-full (with sslrootcert in the URL) or require; where the network between "
                    "is your own, DATABASE_ALLOW_PLAIN=true"
                )
        return self

    @property
    def names(self) -> "Names":
        """The application's names for our tables, from STRIPE_SYNC_CONFIG."""
        from schema.names import Names

        return self.stripe_sync_config or Names()

    @property
    def owner_url(self) -> str:
        """Where whoever owns the tables connects: migrations run there."""
        return self.database_owner_url or self.database_url

    @property
    def livemode(self) -> bool:
        """Which mode's events are applied: as set, else the key's, else live in production only."""
        if self.stripe_livemode is not None:
            return self.stripe_livemode
        if self.stripe_secret_key is not None:
            return "_live_" in self.stripe_secret_key.get_secret_value()
        return self.app_env is AppEnv.PRODUCTION

    @property
    def webhook_secrets(self) -> tuple[str, ...]:
        return tuple(secret.get_secret_value() for secret in self.stripe_webhook_secret)


def load(*, needs_webhook_secret: bool = False, **overrides: Any) -> Settings:
    """The settings of this process; raises ConfigError naming every setting that is missing or wrong."""
    try:
        settings = Settings(**overrides)
    except ValidationError as error:
        faults = [_fault(detail) for detail in error.errors(include_url=False, include_input=False)]
        raise ConfigError("settings are missing or wrong:\n  " + "\n  ".join(faults)) from None
    if needs_webhook_secret and not settings.stripe_webhook_secret:
        raise ConfigError(
            "settings are missing or wrong:\n  STRIPE_WEBHOOK_SECRET: is not set; the door stays closed without it "
            "(Stripe's dashboard, Webhooks, signing secret: whsec_...)"
        )
    return settings


def _fault(detail: Any) -> str:
    name = ".".join(str(part) for part in detail["loc"]).upper()
    said = detail["msg"].removeprefix("Value error, ")
    if detail["type"] == "missing":
        said = "is not set"
    return f"{name}: {said}" if name else said
