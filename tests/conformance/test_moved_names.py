"""Values and functions that name a class where it stood earlier are read as what it is now."""

from __future__ import annotations

from typing import Any

import pytest

from tensorlake_nb import File
from tensorlake_nb.core.digest import digest
from tensorlake_nb.engine import travel
from tensorlake_nb.store.codec import Encoded, decode, encode

EARLIER = "tensorlake_nb.core.file"


class Holder:
    """Stored as a pickle, with what it holds."""

    def __init__(self, held: Any) -> None:
        self.held = held


def stored_earlier(value: Any, monkeypatch: pytest.MonkeyPatch) -> Encoded:
    with monkeypatch.context() as then:
        then.setattr(File, "__module__", EARLIER)
        return encode(value, digest=digest(value))


@pytest.mark.parametrize("trusted", [True, False])
def test_a_record_is_read_as_its_class_of_now(monkeypatch: pytest.MonkeyPatch, trusted: bool) -> None:
    encoded = stored_earlier([File(data=b"a")], monkeypatch)
    assert EARLIER.encode() in bytes(encoded.data)

    assert decode(encoded.codec, encoded.data, trusted=trusted) == [File(data=b"a")]


def test_what_is_in_a_pickle_is_read_as_its_class_of_now(monkeypatch: pytest.MonkeyPatch) -> None:
    encoded = stored_earlier(Holder(File), monkeypatch)
    assert EARLIER.encode() in bytes(encoded.data)

    assert decode(encoded.codec, encoded.data).held is File


def test_a_packed_function_is_read_with_the_class_of_now() -> None:
    assert travel.loads(f"c{EARLIER}\nFile\n.".encode()) is File
