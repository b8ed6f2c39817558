"""How many requests an object store is asked: each costs more than everything else together."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tensorlake_nb.store.checkpoints import Store
from tensorlake_nb.store.opening import open_store
from tests.support.stores import FINGERPRINT, add, again, committed, digests_of, key

s3fs = pytest.importorskip("s3fs")

Counted = Callable[[Callable[[], Any]], list[str]]


@pytest.fixture
def store(s3: dict[str, Any]) -> Store:
    return again(open_store(f"s3://bucket/{uuid.uuid4().hex}", trusted=True, options=s3))


@pytest.fixture
def requests(monkeypatch: pytest.MonkeyPatch) -> Counted:
    """Does something and lists the requests that it took."""
    seen: list[str] = []
    real = s3fs.S3FileSystem._call_s3

    async def call(self: Any, method: str, *args: Any, **kwargs: Any) -> Any:
        seen.append(method)
        return await real(self, method, *args, **kwargs)

    monkeypatch.setattr(s3fs.S3FileSystem, "_call_s3", call)

    def counted(do: Callable[[], Any]) -> list[str]:
        seen.clear()
        do()
        return list(seen)

    return counted


@pytest.mark.parametrize("value", [{"a": 1}, np.arange(10.0)], ids=["plain", "array"])
def test_a_small_commit_is_two_requests(store: Store, requests: Counted, value: Any) -> None:
    def commit() -> None:
        writer = store.writer(FINGERPRINT, "batch")
        writer.begin(key(1))
        add(writer, 1, value)
        writer.close()

    assert requests(commit) == ["put_object", "put_object"]


def test_a_thousand_outputs_are_two_requests_too(store: Store, requests: Counted) -> None:
    assert len(requests(lambda: committed(store, [{"n": n} for n in range(1000)]))) == 2


@pytest.mark.parametrize("value", [{"a": 1}, np.arange(10.0)], ids=["plain", "array"])
def test_a_small_value_is_read_by_two_requests(store: Store, requests: Counted, value: Any) -> None:
    spans = committed(store, [value])
    reader = again(store)

    assert requests(lambda: reader.read(spans)) == ["get_object", "get_object"]


def test_what_was_just_written_is_not_read_back(store: Store, requests: Counted) -> None:
    spans = committed(store, [{"a": 1}, np.arange(10.0)])

    assert requests(lambda: store.read(spans)) == []


def test_an_index_is_one_listing_and_a_read_for_each_segment(store: Store, requests: Counted) -> None:
    for batch in range(3):
        committed(store, [batch], name=f"batch-{batch}")
    reader = again(store)

    asked = requests(lambda: reader.index(FINGERPRINT))

    assert sorted(asked) == ["get_object"] * 3 + ["list_objects_v2"]
    assert requests(lambda: reader.index(FINGERPRINT)) == []


def test_listings_are_never_stale(store: Store) -> None:
    reader = again(store)
    assert reader.index(FINGERPRINT).empty

    spans = committed(store, ["value"])

    assert len(reader.index(FINGERPRINT, refresh=True)) == 1
    assert digests_of(reader.read(spans)) == digests_of(["value"])
