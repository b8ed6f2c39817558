"""Pictures lie beside what they show: found by its digest, committed and recovered with it, left out with it."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgpack
import pytest
import zarr
from blake3 import blake3

from tensorlake_nb.core.batches.batch import BARE, Span
from tensorlake_nb.core.keys import picture_key
from tensorlake_nb.errors import Picture, UnreadableValueError
from tensorlake_nb.store.codecs.codec import Encoded, encode_by_pickle
from tensorlake_nb.store.format.outcomes import Entry
from tensorlake_nb.store.reading.pictures import encoded_pictures, pictures_of
from tensorlake_nb.store.writing.writer import Writer
from tests.support.stores import FINGERPRINT, key, local_store, segment_directory


class Shown:
    """Can be read as long as nobody hides it."""

    is_hidden = False

    def __init__(self, number: int) -> None:
        self.number = number

    def __setstate__(self, state: dict[str, Any]) -> None:
        if self.is_hidden:
            raise ModuleNotFoundError("No module named 'shown'", name="shown")
        vars(self).update(state)


def picture(number: int) -> Picture:
    return {"text/plain": "tests.Shown", "image/png": b"picture %d" % number}


def with_picture(number: int) -> Encoded:
    return replace(encode_by_pickle(Shown(number)), picture=encoded_pictures([picture(number)]))


def add(writer: Writer, number: int, *values: Encoded, supersedes: int | None = None) -> None:
    followed = None if supersedes is None else key(supersedes)
    writer.add(Entry(key(number), BARE if len(values) == 1 else len(values), values, supersedes=followed))


def test_what_cant_be_read_comes_with_the_pictures_of_all_that_was_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = local_store(tmp_path)
    writer = store.writer(FINGERPRINT, "writer")
    add(writer, 1, with_picture(1), encode_by_pickle(Shown(2)), with_picture(3))
    add(writer, 2, with_picture(4))
    writer.close()
    spans = [*writer.locate(key(1)).outputs.spans, *writer.locate(key(2)).outputs.spans]
    assert [value.number for value in store.read(spans)] == [1, 2, 3, 4]

    monkeypatch.setattr(Shown, "is_hidden", True)
    for opened in (store, local_store(tmp_path)):
        with pytest.raises(UnreadableValueError, match="it needs shown, which isn't installed here") as caught:
            opened.read(iter(spans))
        assert caught.value.pictures == (picture(1), picture(3), picture(4))
        assert opened.damage == []


def test_pictures_are_recovered_with_what_they_show(tmp_path: Path) -> None:
    store = local_store(tmp_path)
    writer = store.writer(FINGERPRINT, "writer")
    add(writer, 1, with_picture(1))
    writer.abandon()

    store.recover()

    found = store.writer(FINGERPRINT, "writer").known()[key(1)]
    assert pictures_of(store, found.outputs.spans) == (picture(1),)


def test_a_superseded_accumulator_goes_with_its_picture(tmp_path: Path) -> None:
    store = local_store(tmp_path)
    writer = store.writer(FINGERPRINT, "writer")
    add(writer, 0, with_picture(0))
    add(writer, 1, with_picture(1), supersedes=0)
    add(writer, 2, with_picture(2), supersedes=1)
    add(writer, 3, with_picture(2), supersedes=2)
    writer.close()

    (segment,) = store.segments_of(FINGERPRINT)
    assert set(segment.all_keys()) == {key(3), picture_key(with_picture(2).digest)}
    assert pictures_of(store, writer.locate(key(3)).outputs.spans) == (picture(2),)


def test_a_picture_can_be_read_as_the_format_says(tmp_path: Path) -> None:
    store = local_store(tmp_path)
    writer = store.writer(FINGERPRINT, "writer")
    add(writer, 1, with_picture(1))
    writer.close()
    ((segment, start, _),) = [(span.segment, span.start, span.stop) for span in writer.locate(key(1)).outputs.spans]
    folder = segment_directory(tmp_path, segment)

    about = json.loads((folder / "zarr.json").read_bytes())["attributes"]["tensorlake_nb"]
    digest = base64.b64decode(about["digests"])[32 * start : 32 * start + 32]
    named = blake3((9).to_bytes(8, "little") + b"picture/1" + (32).to_bytes(8, "little") + digest).digest()
    task = base64.b64decode(about["keys"]).index(named) // 32
    ends = [0, *memoryview(base64.b64decode(about["ends"])).cast("Q")]
    group: Any = zarr.open_group(folder, mode="r")
    stored = bytes(group["payload"][ends[task] : ends[task + 1]])

    assert msgpack.unpackb(stored) == [picture(1)]


@pytest.mark.parametrize("senseless", [3, "text", [], [3], [{"image/png": 3}], [{3: b""}], {"image/png": b""}])
def test_what_is_no_picture_isnt_taken_for_one(tmp_path: Path, senseless: Any) -> None:
    store = local_store(tmp_path)
    writer = store.writer(FINGERPRINT, "writer")
    add(writer, 1, replace(encode_by_pickle(Shown(1)), picture=encoded_pictures(senseless)))
    writer.close()

    assert pictures_of(store, writer.locate(key(1)).outputs.spans) == ()


def test_pictures_that_are_gone_are_none(tmp_path: Path) -> None:
    assert pictures_of(local_store(tmp_path), [Span(f"{FINGERPRINT}/writer~20260101000000", 0, 1)]) == ()
