"""The states of a user, as enums in `public`. They stand apart from the tables: the rules need no SQLAlchemy."""

import enum


class UserRole(enum.StrEnum):
    """The roles of ours. The daemon sets USER and PREMIUM, people set ADMIN and BANNED.

    An adopted application may have others, which only it sets, so a user's role is any text.
    """

    USER = "USER"
    PREMIUM = "PREMIUM"
    ADMIN = "ADMIN"
    BANNED = "BANNED"


class MembershipStatus(enum.StrEnum):
    """How a user's payments stand."""

    ACTIVE = "ACTIVE"
    INACTIVE = "INACTIVE"
    CANCELED = "CANCELED"
    PAST_DUE = "PAST_DUE"
