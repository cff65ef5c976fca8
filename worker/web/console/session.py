"""Sessions of the console: one password, a signed cookie that expires, and a token in every form.

The signing key is derived from the password, so a new password ends all sessions in all processes.
"""

import hashlib
import hmac
import secrets
import time
from collections import deque
from dataclasses import dataclass

from itsdangerous import BadSignature, URLSafeTimedSerializer

from worker.config.settings import AppEnv, Settings

COOKIE = "stripe_sync_console"
SESSION_SECONDS = 12 * 3600
SENTENCE_SECONDS = 60
LINK_SECONDS = 600
LINK_SECONDS_IN_DEVELOPMENT = 24 * 3600
# After this many failed sign-ins from one address, or from all addresses, within FAILURE_SECONDS, the next attempt must wait.
MAX_FAILURES, MAX_FAILURES_OF_ALL, FAILURE_SECONDS = 5, 50, 300
# OWASP's recommended parameters for scrypt: 32 MiB and about 0.1 s per hash.
_SCRYPT_N, _SCRYPT_R, _SCRYPT_P = 2**15, 8, 1


@dataclass(frozen=True, slots=True)
class Session:
    """The session of a signed-in browser. `csrf` is the token that its forms must contain."""

    id: str
    csrf: str


class Sessions:
    """Passwords, cookies and form tokens of the console. Exists only if a password is set."""

    def __init__(self, settings: Settings) -> None:
        password, hashed = settings.console_password, settings.console_password_hash
        self._password = password.get_secret_value() if password else None
        self._hash = hashed.get_secret_value() if hashed else None
        key = hashlib.sha256(b"stripe-sync console " + (self._hash or self._password or "").encode()).digest()
        self._key = key
        self._cookies = URLSafeTimedSerializer(key, salt="cookie")
        self._sentences = URLSafeTimedSerializer(key, salt="sentence")
        self._links = URLSafeTimedSerializer(key, salt="link")
        development = settings.app_env in (AppEnv.DEVELOPMENT, AppEnv.TEST)
        self._link_seconds = LINK_SECONDS_IN_DEVELOPMENT if development else LINK_SECONDS
        self.is_cookie_secure = not development

    def is_password(self, sent: str) -> bool:
        if self._hash is not None:
            return _matches(sent, self._hash)
        assert self._password is not None
        return hmac.compare_digest(sent.encode(), self._password.encode())

    def start(self) -> str:
        """The cookie of a new session."""
        return str(self._cookies.dumps(secrets.token_urlsafe(16)))

    def read(self, cookie: str | None) -> Session | None:
        """The session of this cookie; None if it is missing, forged or expired."""
        try:
            id_ = str(self._cookies.loads(cookie or "", max_age=SESSION_SECONDS))
        except BadSignature:
            return None
        return Session(id_, hmac.new(self._key, b"csrf " + id_.encode(), "sha256").hexdigest())

    def sign(self, sentence: str) -> str:
        """Sign a sentence for the next page, so that a link can't make the page show any other text."""
        return str(self._sentences.dumps(sentence))

    def unsign(self, signed: str | None) -> str | None:
        try:
            return str(self._sentences.loads(signed or "", max_age=SENTENCE_SECONDS))
        except BadSignature:
            return None

    def link(self) -> str:
        """A token that signs a browser in without the password, for a few minutes (a day in development)."""
        return str(self._links.dumps("sign-in"))

    def is_link(self, token: str) -> bool:
        try:
            self._links.loads(token, max_age=self._link_seconds)
        except BadSignature:
            return False
        return True


class Attempts:
    """Recent failed sign-ins in this process. They slow down attempts to guess the password."""

    def __init__(self) -> None:
        self._failures: deque[tuple[float, str]] = deque()

    def seconds_to_wait(self, address: str) -> int:
        """The seconds that this address has to wait before its next attempt; 0 if it may try now."""
        now = time.monotonic()
        while self._failures and self._failures[0][0] < now - FAILURE_SECONDS:
            self._failures.popleft()
        own = [at for at, by in self._failures if by == address]
        if len(own) >= MAX_FAILURES:
            return int(own[-MAX_FAILURES] + FAILURE_SECONDS - now) + 1
        if len(self._failures) >= MAX_FAILURES_OF_ALL:
            return int(self._failures[0][0] + FAILURE_SECONDS - now) + 1
        return 0

    def failed(self, address: str) -> None:
        self._failures.append((time.monotonic(), address))


def hash_password(password: str) -> str:
    """The value of CONSOLE_PASSWORD_HASH for this password: `scrypt:N:r:p$salt$hash`."""
    salt = secrets.token_hex(16)
    digest = _scrypt(password, salt, _SCRYPT_N, _SCRYPT_R, _SCRYPT_P)
    return f"scrypt:{_SCRYPT_N}:{_SCRYPT_R}:{_SCRYPT_P}${salt}${digest.hex()}"


def _matches(sent: str, hashed: str) -> bool:
    method, salt, digest = hashed.split("$")
    _, n, r, p = method.split(":")
    return hmac.compare_digest(_scrypt(sent, salt, int(n), int(r), int(p)).hex(), digest)


def _scrypt(password: str, salt: str, n: int, r: int, p: int) -> bytes:
    return hashlib.scrypt(password.encode(), salt=salt.encode(), n=n, r=r, p=p, maxmem=132 * n * r * p, dklen=32)
