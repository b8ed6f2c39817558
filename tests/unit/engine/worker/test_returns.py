"""What a call returns is kept if pickle keeps it, also where it has no digest of its own."""

from __future__ import annotations

from typing import Any

import pytest

from tensorlake_nb.core.batches.batch import Call
from tensorlake_nb.core.keys import Fingerprint
from tensorlake_nb.core.values import object_rules as digest_objects
from tensorlake_nb.engine.worker.returns import Returns
from tensorlake_nb.errors import SerializationError
from tensorlake_nb.store.codecs.classes import ModuleResolver
from tensorlake_nb.store.codecs.codec import PICKLE, decode
from tests.support.stores import FINGERPRINT, some_digest


class Fickle:
    """Gives pickle another state each time."""

    asked = 0

    def __getstate__(self) -> dict[str, int]:
        Fickle.asked += 1
        return {"asked": Fickle.asked}


def returns() -> Returns:
    return Returns(Call("node", "function", Fingerprint(FINGERPRINT), "", some_digest(1)), ModuleResolver())


def test_what_pickles_differently_each_time_is_kept_and_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(digest_objects, "_is_known", lambda cls: cls is not Fickle)  # as if it were a package's
    taken = returns()

    kept = taken.encoded([Fickle()])

    assert kept.codec == PICKLE
    assert isinstance(decode(kept.codec, kept.data)[0], Fickle)
    assert any("by the bytes of its pickle" in note for note in taken.notes)


def test_views_of_dicts_are_kept() -> None:
    kept = returns().encoded({"a": 1}.items())
    assert list(decode(kept.codec, kept.data)) == [("a", 1)]


@pytest.mark.parametrize(
    "inside", [lambda value: value, lambda value: [{1: 2}.keys(), value]], ids=["itself", "inside"]
)
def test_an_open_file_is_refused(inside: Any) -> None:
    with open(__file__) as file, pytest.raises(SerializationError, match="an open file can't be kept"):
        returns().encoded(inside(file))


def test_what_can_be_gone_through_once_is_refused() -> None:
    with pytest.raises(SerializationError, match="gone through only once"):
        returns().encoded(item for item in "ab")
