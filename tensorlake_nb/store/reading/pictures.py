"""Pictures of figures, beside them in their segment: what is shown where a figure can't be read back.

A picture is kept as a task of its own, under a key that is made of the digest of the output that it shows. So it is
committed, recovered, verified and collected as everything else is, and who doesn't know of it reads on as before.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tensorlake_nb.core.batches.batch import Span
from tensorlake_nb.core.keys import picture_key
from tensorlake_nb.core.values.digest import digest
from tensorlake_nb.errors import Picture, StoreError
from tensorlake_nb.store.codecs.codec import MSGPACK, PICKLE, Encoded, encode
from tensorlake_nb.store.reading.stored_outputs import StoredOutputs

#: How many of them are read to show what couldn't be read.
_MOST_SHOWN = 16


def encoded_pictures(pictures: list[Picture]) -> Encoded:
    """Encode the pictures of one output for the store."""
    return encode(pictures, digest=digest(pictures))


def pictures_of(store: StoredOutputs, spans: Iterable[Span]) -> tuple[Picture, ...]:
    """Return the first pictures of some outputs that were kept and can be read; never raise for them."""
    found: list[Picture] = []
    try:
        for span in spans:
            segment = store.segment(span.segment)
            for output in range(span.start, span.stop):
                task = segment.task(picture_key(segment.digest(output))) if segment.codec(output) == PICKLE else None
                if task is not None:
                    (place,) = segment.spans(task)
                    found += _checked(store.read((place,)) if segment.codec(place.start) == MSGPACK else [])
                if len(found) >= _MOST_SHOWN:
                    return tuple(found[:_MOST_SHOWN])
    except (StoreError, ValueError):  # they are a help, and what they help with is an error already
        pass
    return tuple(found)


def _checked(values: list[Any]) -> list[Picture]:
    """Return the valid pictures among decoded data."""
    listed = [value for held in values if isinstance(held, list) for value in held]
    return [value for value in listed if isinstance(value, dict) and all(map(_is_part, value.items()))]


def _is_part(item: tuple[Any, Any]) -> bool:
    return isinstance(item[0], str) and isinstance(item[1], str | bytes)
