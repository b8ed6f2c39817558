"""Store a value as a pickle, and read it back."""

from __future__ import annotations

from typing import Any

from tensorlake_nb.core.keys import Digest
from tensorlake_nb.store.codecs.codec import PICKLE, Encoded, decode, encode

ANY = Digest(b"\0" * 32)


def kept(value: Any) -> Encoded:
    made = encode(value, digest=ANY)
    assert made.codec == PICKLE
    return made


def there_and_back(value: Any) -> Any:
    made = kept(value)
    return decode(made.codec, made.data)
