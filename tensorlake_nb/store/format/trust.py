"""Signatures: how what a user wrote is told apart from what others put into the same store.

A signature is the keyed hash (MAC) of BLAKE3 over what it stands for. It stands inside the signed object as 64 hex
digits, which count as zeros: older readers see one more field, and take no notice of it. A key is read from the
environment; without one there a process makes one up, so that a run on a shared store works, and the next kernel
computes again what only this one could vouch for.
"""

from __future__ import annotations

import hmac
import os
import re
import secrets
from functools import lru_cache
from typing import NoReturn

from blake3 import blake3

from tensorlake_nb.errors import InternalError, OptionError
from tensorlake_nb.store.filesystems.protocol import Buffer

#: Keys of at least 32 characters, the newest first; the others are for what was signed before it was there.
KEY_VARIABLE = "TENSORLAKE_NB_SIGNING_KEY"

_SHORTEST = 32
_CONTEXT = "tensorlake_nb 2026 signing key 1"
_ZEROS = b"0" * 64
_DOCUMENT = b'{"signature":"'
_HEX = re.compile(rb"[0-9a-f]{64}")


class Keys:
    """The keys of one user: the first one signs, and what any of them has signed is believed.

    They are never shown, and never pickled.

    Attributes
    ----------
    name
        Tells keys apart without telling anything about them.
    is_lasting
        They outlive this process, so what they sign is worth something to the next.
    """

    def __init__(self, text: str, *, is_lasting: bool) -> None:
        texts = re.split(r"[\s,]+", text.strip())
        for each in texts:
            if len(each) < _SHORTEST:
                raise OptionError(
                    f"{KEY_VARIABLE} holds a key of {len(each)} characters, and at least {_SHORTEST} are needed. "
                    'Make one with: python -c "import secrets; print(secrets.token_hex(32))"'
                )
        self._texts = texts
        self._keys = tuple(blake3(each.encode(), derive_key_context=_CONTEXT).digest() for each in texts)
        self.is_lasting = is_lasting
        self.name = self.sign("name").hex()[:16]

    def __repr__(self) -> str:
        return f"<{len(self._keys)} signing keys>"

    def __reduce__(self) -> NoReturn:
        raise InternalError("keys were about to be sent or stored: they travel as a run's secrets do, or not at all")

    def texts(self) -> tuple[str, ...]:
        """Return the texts to redact everywhere: each key that was given to this process."""
        return tuple(self._texts) if self.is_lasting else ()

    def reveal(self) -> str:
        """Return the secret text that the keys were made from."""
        return " ".join(self._texts)

    def sign(self, what: str, *parts: str | Buffer) -> bytes:
        """Sign something made of parts; ``what`` keeps things of different kinds apart."""
        return _mac(self._keys[0], what, parts)

    def fit(self, signature: bytes, what: str, *parts: str | Buffer) -> bool:
        """Return True if one of the keys made that signature."""
        return any(hmac.compare_digest(signature, _mac(key, what, parts)) for key in self._keys)

    def sign_document(self, path: str, content: bytes) -> bytes:
        """Return a JSON object with its signature as the first field."""
        unsigned = _DOCUMENT + _ZEROS + b'",' + content[1:]
        start = len(_DOCUMENT)
        return unsigned[:start] + self.sign("document", path, unsigned).hex().encode() + unsigned[start + 64 :]

    def fit_document(self, path: str, content: bytes) -> bool:
        """Return True if one of the keys signed a JSON object for that very path."""
        start = len(_DOCUMENT)
        digits = content[start : start + 64]
        if not content.startswith(_DOCUMENT) or not _HEX.fullmatch(digits):
            return False
        unsigned = content[:start] + _ZEROS + content[start + 64 :]
        return self.fit(bytes.fromhex(digits.decode()), "document", path, unsigned)


def _mac(key: bytes, what: str, parts: tuple[str | Buffer, ...]) -> bytes:
    hasher = blake3(key=key)
    for part in (what, *parts):
        data = part.encode("utf-8", "surrogatepass") if isinstance(part, str) else part
        hasher.update(len(data).to_bytes(8, "little"))  # so that ("ab", "c") and ("a", "bc") differ
        hasher.update(data)
    return hasher.digest()


@lru_cache(maxsize=64)
def keys_of(text: str) -> Keys:
    """Return the keys in a text.

    Raises
    ------
    OptionError
        One of them is too short.
    """
    return Keys(text, is_lasting=True)


_made_up = Keys(secrets.token_hex(32), is_lasting=False)
_taken: str | None = None


def own_keys() -> Keys:
    """Return the keys of this process's user: those in the environment, else one that this process made up.

    Raises
    ------
    OptionError
        A key in the environment is too short.
    """
    text = os.environ.get(KEY_VARIABLE) or _taken
    return keys_of(text) if text else _made_up


def hide_own_keys() -> None:
    """Take them out of the environment, where every call would see them; this process still has them."""
    global _taken
    _taken = os.environ.pop(KEY_VARIABLE, None) or _taken
