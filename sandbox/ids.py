"""Ids in Stripe's form, reproducible by a seed.

An id such as `sub_1...` consists of the second of its creation (six characters), the account's token (ten), and random
characters (eight). All ids of one payment begin with 3 and contain the second in which the payment was created.
"""

from hashlib import blake2b

_ALPHABET = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_TO_ALPHABET = bytes(_ALPHABET[byte % 62] for byte in range(256))
_EPOCH = 426256548


class Ids:
    """A source of ids: the n-th one depends only on the seed and on n."""

    def __init__(self, seed: int, drawn: int = 0) -> None:
        self.seed = seed
        self.drawn = drawn
        self._key = f"sandbox {seed}".encode()
        self.account_token = self._hashed(b"account", 10)

    def account(self) -> str:
        """The account's own id."""
        return f"acct_1{self.account_token}00"

    def characters(self, count: int) -> str:
        """This many random characters, at most 64."""
        self.drawn += 1
        return self._hashed(self.drawn.to_bytes(8, "big"), count)

    def plain(self, prefix: str, count: int = 14) -> str:
        """A random id, like those of `prod_`, `cus_` and `si_`."""
        return prefix + self.characters(count)

    def timed(self, prefix: str, second: int) -> str:
        """An id that contains its second, like those of `sub_`, `in_` and `evt_`."""
        return f"{prefix}{_base62(second - _EPOCH)}{self.account_token}{self.characters(8)}"

    def of_payment(self, prefix: str, born: int) -> str:
        """An id that contains the second in which its payment was created."""
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
