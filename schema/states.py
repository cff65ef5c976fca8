"""The states of a user, as enums in `public`. They stand apart from the tables: the rules need no SQLAlchemy."""

from __future__ import annotations

import enum


class UserRole(enum.StrEnum):
    """The role of a user. The daemon sets USER and PREMIUM. People set ADMIN, BANNED and the application's own roles."""

    USER = "USER"
    PREMIUM = "PREMIUM"
    ADMIN = "ADMIN"
    BANNED = "BANNED"

    @classmethod
    def _missing_(cls, value: object) -> UserRole | None:
        """An adopted application's role: a value of its own, and no member."""
        if not isinstance(value, str):
            return None
        role = str.__new__(cls, value)
        role._name_ = role._value_ = value
        return role


class MembershipStatus(enum.StrEnum):
    """How a user's payments stand."""

    ACTIVE = "ACTIVE"
    INACTIVE = "INACTIVE"
    CANCELED = "CANCELED"
    PAST_DUE = "PAST_DUE"
