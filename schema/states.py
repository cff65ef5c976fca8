"""The states of a user, which are enums in `public`. They are in a separate module, because the rules need no SQLAlchemy."""

import enum


class UserRole(enum.StrEnum):
    """Our roles.

    The daemon sets USER and PREMIUM, and people set ADMIN and BANNED. An adopted application may have other roles, which only
    the application sets, so a user's role may be any text.
    """

    USER = "USER"
    PREMIUM = "PREMIUM"
    ADMIN = "ADMIN"
    BANNED = "BANNED"


class MembershipStatus(enum.StrEnum):
    """The state of a user's payments."""

    ACTIVE = "ACTIVE"
    INACTIVE = "INACTIVE"
    CANCELED = "CANCELED"
    PAST_DUE = "PAST_DUE"
