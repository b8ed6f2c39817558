"""The base of every digest rule: tagged, length-prefixed bytes, and the encoder that rules call back.

The encoding of a value is ``tag + fields``. Inside a container it stands as its *part*: itself when it is short, else
``#`` and its hash, so a part never exceeds 64 bytes, a byte tells its length, and nothing is copied twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Protocol, TypeAlias

from blake3 import blake3

#: Longest encoding that stands in a container as it is.
INLINE = 64
#: First byte of a part that is a hash.
HASHED = b"#"
_HASHED_BYTE = HASHED[0]
#: The lengths of parts, as bytes.
LENGTH = tuple(bytes([n]) for n in range(INLINE + 1))


class Encoding(Protocol):
    """The encoder's methods that a rule may call back."""

    def encode(self, value: Any) -> bytes:
        """Return the part of a value: at most 64 bytes."""

    def class_part(self, cls: type) -> bytes:
        """Return the part that names the class of an instance."""

    def code_part(self, value: Any) -> bytes:
        """Return the part of a function, class or module that is itself the value."""

    def constructor_part(self, value: Any) -> bytes:
        """Return the part of the callable that ``__reduce__`` gives to rebuild an instance."""

    def reducer(self, cls: type) -> Callable[[Any], Any] | None:
        """Return the function that takes apart instances of a class that pickle alone can't."""

    def unordered(self, values: Iterable[Any]) -> list[bytes]:
        """Return the parts of a set's items, in an order independent of the set's own."""

    def pickled(self, value: Any, encode_once: Callable[[], bytes]) -> bytes:
        """Encode something that only its own package can take apart."""


#: One rule per type: a value and the encoder that called, to the value's encoding.
Rule: TypeAlias = Callable[[Any, Encoding], bytes]


class Refusal(Exception):
    """A value without a digest; ``path`` leads from the culprit up to the value that was asked about."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.path: list[str] = []

    def inside(self, step: str) -> None:
        """Say where in its container the culprit lies; called from the inside out."""
        self.path.append(step)


def count(n: int) -> bytes:
    """Encode a number of items or bytes as 8 bytes."""
    return n.to_bytes(8, "little")


def field(data: bytes) -> bytes:
    """Bytes of any length after their length."""
    return len(data).to_bytes(8, "little") + data


def parts(items: Iterable[bytes]) -> bytes:
    """Parts end to end, each after its length."""
    length = LENGTH
    return b"".join([length[len(item)] + item for item in items])


def part_of(encoding: bytes) -> bytes:
    """Return the form of an encoding inside a container."""
    return encoding if len(encoding) <= INLINE else HASHED + blake3(encoding).digest()


def digest_of(part: bytes) -> bytes:
    """Return the digest of the value with this part: the hash of its encoding, 32 bytes."""
    return part[1:] if part[0] == _HASHED_BYTE else blake3(part).digest()


def name_of(obj: Any) -> str:
    """``module:qualname`` of a class, function or anything else with a name."""
    module = getattr(obj, "__module__", None)
    name = getattr(obj, "__qualname__", None) or getattr(obj, "__name__", None) or type(obj).__qualname__
    return f"{module}:{name}"


def type_name(value: Any) -> str:
    """Return the class of a value as people write it, for messages."""
    cls = type(value)
    return cls.__qualname__ if cls.__module__ in ("builtins", "__main__") else f"{cls.__module__}.{cls.__qualname__}"
