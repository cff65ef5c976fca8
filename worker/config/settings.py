"""Read the environment into one frozen value, once, at start. All problems are reported together, each with its fix.

The string below a setting documents it, and docs/settings.md is generated from these strings
(`python -m tests.settings_page`). A comment `# == Title` starts a section of that page.
"""

import enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from worker.config import address, values
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


class ProductChanges(enum.StrEnum):
    APPLY = "apply"
    PLAN = "plan"


class Pooler(enum.StrEnum):
    """The kind of connection pooler between the daemon and Postgres."""

    NONE = "none"
    TRANSACTION = "transaction"


class ConfigError(Permanent):
    """A setting is missing or wrong."""


Seconds = Annotated[float, Field(gt=0)]
PostgresUrl = Annotated[str, Field(min_length=1), AfterValidator(values.libpq_url)]


class Settings(BaseSettings):
    """The settings of a process. Times are in seconds unless the name says days."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True, env_ignore_empty=True)

    # == Connections

    database_url: PostgresUrl
    """The database: a libpq URL or connection string. A SQLAlchemy URL such as `postgresql+psycopg://...` works too."""
    redis_url: Annotated[str, Field(min_length=1), AfterValidator(values.redis_url)]
    """Redis or Valkey, for Celery's broker and the rate limit of requests to Stripe."""
    app_env: AppEnv = AppEnv.PRODUCTION
    """`development`, `test`, `staging` or `production`. In production, schema changes need confirmation, and TLS is required."""

    # == Stripe

    stripe_secret_key: Annotated[SecretStr, AfterValidator(values.stripe_key)] | None = None
    """An API key that may read. Without a key, only deliveries are applied, and uncertain objects are never re-read."""
    stripe_webhook_secret: Annotated[
        tuple[SecretStr, ...],
        NoDecode,
        BeforeValidator(values.comma_separated),
        AfterValidator(values.webhook_secrets),
    ] = ()
    """The signing secret of the webhook endpoint; required by `web`. During a rotation, list several, comma-separated. A secret
    may be bound to its Stripe account: `whsec_...@acct_...`."""
    connect: bool = False
    """Whether to read connected accounts too (docs/connect.md)."""
    webhook_url: str | None = None
    """The public URL of the webhook endpoint, for `stripe-sync endpoint` and its checks. By default, every endpoint at Stripe
    with the path `/webhooks/stripe` counts as ours."""
    stripe_livemode: bool | None = None
    """Whether live events are applied, instead of test events. By default the key decides; without a key, production is live."""
    stripe_api_base: str = "https://api.stripe.com"
    """The URL of Stripe's API, or of a sandbox."""
    stripe_concurrency: Annotated[int, Field(ge=1, le=256)] = 32
    """The most concurrent requests to Stripe from one process."""
    stripe_rate: Annotated[float, Field(gt=0)] | None = None
    """The most requests to Stripe per second, from all processes together. By default, Stripe's limit: 100 in live mode, 25 in
    test mode."""
    stripe_operation_rate: Annotated[float, Field(gt=0)] = 25
    """The most requests per second for one operation, such as listing invoices."""

    # == Web

    api_token: SecretStr | None = None
    """The bearer token for `/metrics` and `/v1`. Without a token, they refuse every request."""
    console_password: Annotated[SecretStr, AfterValidator(values.long_enough)] | None = None
    """The password of the console at `/console`, at least 12 characters. Without a password or a hash, the console is off."""
    console_password_hash: Annotated[SecretStr, AfterValidator(values.scrypt_hash)] | None = None
    """A hash to set instead of the password; `stripe-sync console hash` prints one."""
    console_write: bool = False
    """Whether the console may act: replay events, override roles, link customers. Otherwise it is read-only."""
    host: str = "0.0.0.0"  # noqa: S104 - in a container, only published ports can be reached
    """The address that `web` listens on."""
    port: Annotated[int, Field(ge=0, le=65535)] = 8000
    """The port that `web` listens on."""
    web_concurrency: Annotated[int, Field(ge=1)] = 1
    """The number of processes that serve HTTP."""

    # == Worker

    worker_concurrency: Annotated[int, Field(ge=1)] = 2
    """The number of child processes of one `worker` that apply live events. Three more do other work."""
    event_batch_size: Annotated[int, Field(ge=1, le=5000)] = 500
    """The most events in one transaction."""
    event_lease: Seconds = 45
    """How long a worker owns the events it has leased. If the worker dies, other workers lease its events after this time."""
    event_max_attempts: Annotated[int, Field(ge=1)] = 8
    """How many times an event may fail before it is parked."""
    wake_interval: Seconds = 15
    """How often to look for due work whose wake-up message was lost."""
    product_refresh_interval: Seconds = 300
    """How often to read all products and prices."""
    reconcile_interval: Seconds = 3600
    """How often to compare all subscriptions with Stripe."""
    catch_up_interval: Seconds = 60
    """How often to search Stripe's list of events for lost deliveries."""
    audit_interval: Seconds = 300
    """How often to compare a few more pages of every list with the mirror."""
    max_deleted_share: Annotated[float, Field(ge=0, le=1)] = 0.1
    """The largest share of a list's rows, for one account, that one pass may mark deleted. If more are missing at Stripe, the
    pass marks none and reports it. `1` allows any share."""
    events_keep_days: Annotated[int, AfterValidator(values.keep_days)] = 35
    """How many days to keep applied events: at least 31, because Stripe lists events for 30 days."""

    # == Membership

    membership: bool = True
    """Whether to compute users. If off, only the mirror is kept, and nothing in `public` is read or written."""
    stripe_sync_config: Annotated[Any, NoDecode, BeforeValidator(values.application_names)] = None
    """A TOML file with the application's names for our tables and columns (docs/adopting.md)."""
    admin_email: str | None = None
    """The e-mail of the user that `stripe-sync setup-admin` makes ADMIN."""
    past_due_grace_days: Annotated[int, Field(ge=0)] | None = None
    """Days of access after the start of an unpaid period. By default, access lasts until Stripe gives up on the payment."""
    product_changes: ProductChanges = ProductChanges.PLAN
    """How to treat the users of a product that now gives something different.

    `apply`: its users are recomputed at once. `plan`: its users wait until an operator runs `stripe-sync membership apply`;
    `stripe-sync membership plan` shows the effect first.
    """
    token_policy: TokenPolicy = TokenPolicy.RESET
    """`reset`: a paid period sets the subscription's allowance. `add`: a paid period adds to the balance."""
    token_ttl_days: Annotated[int, Field(ge=1)] = 30
    """Days until granted tokens expire."""
    trial_tokens: Annotated[int, Field(ge=0, le=999_999_999)] = 0
    """Tokens granted once, by the zero-amount invoice of a trial. The first paid period grants as usual."""

    # == Changes

    changes_url: Annotated[str, AfterValidator(values.http_url)] | None = None
    """The URL to call for each change of a user (docs/changes.md). Needs CHANGES_SECRET."""
    changes_secret: Annotated[
        tuple[SecretStr, ...], NoDecode, BeforeValidator(values.comma_separated), AfterValidator(values.signing_secrets)
    ] = ()
    """The secret that signs the calls, `whsec_` and base64. During a rotation, list several, comma-separated."""
    changes_allow_private: bool = False
    """Whether CHANGES_URL may have an address in a private network, such as another container's."""
    changes_keep_days: Annotated[int, Field(ge=1)] = 35
    """How many days to keep changes."""
    tokens_low: Annotated[int, Field(ge=1)] | None = None
    """If a balance falls below this, a change `tokens.low` is sent. By default, none is sent."""

    # == Logs and traces

    log_format: LogFormat | None = None
    """`json` or `console`. By default, `console` on a terminal outside production, else `json`."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """`debug`, `info`, `warning` or `error`."""
    otel_exporter_otlp_endpoint: str | None = None
    """The OTLP/HTTP endpoint for traces, such as `http://127.0.0.1:4318`. Needs the extra `otel`. Traces are off by default."""

    # == Postgres

    database_owner_url: PostgresUrl | None = None
    """The connection for migrations: as the owner of the tables, and not through a pooler. By default, DATABASE_URL."""
    stripe_schema: Annotated[str, AfterValidator(values.schema_name)] | None = None
    """The name of the schema with the views of Stripe objects, if another tool already uses the schema `stripe`.

    `db migrate` renames our schema to it. By default, the schema keeps its name; in a new database it is `stripe`.
    """
    database_pooler: Pooler = Pooler.NONE
    """`none`, or `transaction` behind a pooler in transaction mode, such as PgBouncer (docs/connections.md)."""
    database_pool_size: Annotated[int, Field(ge=3)] = 4
    """The number of connections in each of the two pools of a web process."""
    database_sslmode: Literal["disable", "allow", "prefer", "require", "verify-ca", "verify-full"] | None = None
    """libpq's sslmode; use `verify-full` in production. By default, the mode in DATABASE_URL, else libpq's default."""
    database_allow_plain: bool = False
    """Whether to allow unencrypted connections to other hosts in production."""
    database_connect_timeout: Annotated[int, Field(ge=1)] = 5
    """Seconds after which an attempt to connect fails."""
    database_statement_timeout: Seconds = 60
    """Seconds after which a statement is cancelled."""
    database_lock_timeout: Seconds = 20
    """Seconds that a statement may wait for a lock."""
    database_idle_in_transaction_timeout: Seconds = 60
    """Seconds after which the server ends a session that is idle in a transaction."""
    database_tcp_timeout: Annotated[int, Field(ge=6)] = 30
    """Seconds without an answer from the network after which a connection counts as broken."""

    # == Backups

    backup_dir: Path | None = None
    """The folder for backups (docs/recovery.md)."""
    backup_schedule: Annotated[str, AfterValidator(values.schedule)] | None = None
    """When backups are made: a cron line or a time of day, in UTC. Needs BACKUP_DIR."""
    backup_kind: Literal["logical", "physical"] = "logical"
    """The kind of scheduled backups: `logical` dumps, or `physical` copies of the whole server."""
    backup_keep_daily: Annotated[int, Field(ge=0)] = 7
    """Daily backups to keep for each environment and kind."""
    backup_keep_weekly: Annotated[int, Field(ge=0)] = 4
    """Weekly backups to keep."""
    backup_keep_monthly: Annotated[int, Field(ge=0)] = 6
    """Monthly backups to keep."""
    backup_wal_dir: Path | None = None
    """The folder for archived WAL, for restoring to a point in time."""
    backup_database_url: Annotated[str, AfterValidator(values.libpq_url)] | None = None
    """The connection for backups, with the necessary rights. By default, DATABASE_URL."""
    backup_pg_bin: Path | None = None
    """The folder with pg_dump and PostgreSQL's other programs. By default, they are found on PATH."""
    backup_timeout: Seconds = 6 * 3600
    """Seconds after which a backup is aborted."""

    @model_validator(mode="after")
    def _signs_its_calls(self) -> "Settings":
        if self.changes_url is not None and not self.changes_secret:
            raise ValueError(
                "CHANGES_SECRET: is not set; CHANGES_URL needs a secret that signs the calls: whsec_ and the output of "
                "`openssl rand -base64 32`"
            )
        return self

    @model_validator(mode="after")
    def _has_a_folder_for_backups(self) -> "Settings":
        if self.backup_schedule is not None and self.backup_dir is None:
            raise ValueError("BACKUP_DIR: is not set; BACKUP_SCHEDULE needs a folder for backups")
        return self

    @model_validator(mode="after")
    def _agrees_on_the_mode(self) -> "Settings":
        key = self.stripe_secret_key.get_secret_value() if self.stripe_secret_key else None
        if key is not None and self.stripe_livemode is not None and ("_live_" in key) != self.stripe_livemode:
            raise ValueError("STRIPE_LIVEMODE: contradicts the mode of STRIPE_SECRET_KEY; change one of them")
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
                    "production set verify-full (with sslrootcert in the URL) or require; in a private network set "
                    "DATABASE_ALLOW_PLAIN=true"
                )
        return self

    @property
    def names(self) -> "Names":
        """The application's names for our tables, from STRIPE_SYNC_CONFIG."""
        from schema.names import Names

        return self.stripe_sync_config or Names()

    @property
    def owner_url(self) -> str:
        """The address for migrations, as the owner of the tables."""
        return self.database_owner_url or self.database_url

    @property
    def has_console(self) -> bool:
        """Whether the console has a password; it is off otherwise."""
        return self.console_password is not None or self.console_password_hash is not None

    @property
    def livemode(self) -> bool:
        """Whether live events are applied, instead of test events."""
        if self.stripe_livemode is not None:
            return self.stripe_livemode
        if self.stripe_secret_key is not None:
            return "_live_" in self.stripe_secret_key.get_secret_value()
        return self.app_env is AppEnv.PRODUCTION

    @property
    def webhook_secrets(self) -> dict[str, str]:
        """The account that each signing secret is bound to; empty if it is not bound."""
        parts = (secret.get_secret_value().partition("@") for secret in self.stripe_webhook_secret)
        return {secret: account for secret, _, account in parts}


def load(*, needs_webhook_secret: bool = False, **overrides: Any) -> Settings:
    """Load the settings of this process. Raises a ConfigError that lists every missing or wrong setting."""
    try:
        settings = Settings(**overrides)
    except ValidationError as error:
        faults = [_fault(detail) for detail in error.errors(include_url=False, include_input=False)]
        raise ConfigError("settings are missing or wrong:\n  " + "\n  ".join(faults)) from None
    if needs_webhook_secret and not settings.stripe_webhook_secret:
        raise ConfigError(
            "settings are missing or wrong:\n  STRIPE_WEBHOOK_SECRET: is not set; `web` needs it to verify deliveries "
            "(Stripe's dashboard, Webhooks, signing secret: whsec_...)"
        )
    return settings


def _fault(detail: Any) -> str:
    name = ".".join(str(part) for part in detail["loc"]).upper()
    message = "is not set" if detail["type"] == "missing" else detail["msg"].removeprefix("Value error, ")
    return f"{name}: {message}" if name else message
