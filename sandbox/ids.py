"""Ids of the form Stripe gives them, the same again for the same seed.

An id such as `sub_1...` holds the second it was made in (six characters), then the account's token (ten), then chance
(eight). Ids of everything about one payment begin with 3 and hold the second of the payment's birth.
"""

from hashlib import blake2b

_ALPHABET = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_TO_ALPHABET = bytes(_ALPHABET[byte % 62] for byte in range(256))
_EPOCH = 426256548


class Ids:
    """A source of ids: the n-th one asked for depends on the seed and on n alone."""

    def __init__(self, seed: int, drawn: int = 0) -> None:
        self.seed = seed
        self.drawn = drawn
        self._key = f"sandbox {seed}".encode()
        self.account_token = self._hashed(b"account", 10)

    def account(self) -> str:
        """The account's own id."""
        return f"acct_1{self.account_token}00"

    def characters(self, count: int) -> str:
        """So many characters of chance, at most 64."""
        self.drawn += 1
        return self._hashed(self.drawn.to_bytes(8, "big"), count)

    def plain(self, prefix: str, count: int = 14) -> str:
        """An id of chance alone, as `prod_`, `cus_` and `si_` are."""
        return prefix + self.characters(count)

    def timed(self, prefix: str, second: int) -> str:
        """An id that holds its second, as `sub_`, `in_` and `evt_` do."""
        return f"{prefix}{_base62(second - _EPOCH)}{self.account_token}{self.characters(8)}"

    def of_payment(self, prefix: str, born: int) -> str:
        """An id that holds the second its payment was born in."""
        return f"{prefix}3{_base62(born - _EPOCH)[1:]}{self.account_token}{self.characters(8)}"

    def _hashed(self, what: bytes, count: int) -> str:
        return blake2b(what, key=self._key).digest().translate(_TO_ALPHABET)[:count].decode()


def _base62(number: int) -> str:
    digits = bytearray()
    number = max(number, 0)
    while number:
        number, digit = divmod(number, 62)
        digits.append(_ALPHABET[digit])
    return bytes(reversed(digits)).decode().rjust(6, "0")
