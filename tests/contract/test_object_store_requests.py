"""How many requests an object store is asked: each costs more than everything else together."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tensorlake_nb import Graph, configure, tensorlake_function
from tensorlake_nb.store.checkpoints.opening import open_store
from tensorlake_nb.store.checkpoints.store import Store
from tests.support.stores import FINGERPRINT, add, again, committed, digests_of, key

pytestmark = pytest.mark.alone

s3fs = pytest.importorskip("s3fs")
fsspec_config = pytest.importorskip("fsspec.config")

Counted = Callable[[Callable[[], Any]], list[str]]


@pytest.fixture
def store(s3: dict[str, Any]) -> Store:
    return again(open_store(f"s3://bucket/{uuid.uuid4().hex}", trusted=True, options=s3))


@pytest.fixture
def requests(monkeypatch: pytest.MonkeyPatch) -> Counted:
    """Does something and lists the requests that it took, but for leases: how often they are renewed is up to time."""
    seen: list[str] = []
    real = s3fs.S3FileSystem._call_s3

    async def call(self: Any, method: str, *args: Any, **kwargs: Any) -> Any:
        if "/claims/runs/" not in kwargs.get("Key", ""):
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
    """A listing that has names in it is what s3fs would keep; a filesystem of its own writes, as in another process."""
    reader, writer = again(store), again(store)
    committed(writer, ["first"], name="batch-1")
    assert len(reader.index(FINGERPRINT)) == 1

    spans = committed(writer, ["second", "third"], name="batch-2")

    assert len(reader.index(FINGERPRINT, refresh=True)) == 3
    assert digests_of(reader.read(spans)) == digests_of(["second", "third"])


def test_a_listing_that_was_empty_is_asked_for_again(store: Store) -> None:
    reader = again(store)
    assert reader.index(FINGERPRINT).empty

    committed(store, ["value"])

    assert len(reader.index(FINGERPRINT, refresh=True)) == 1


def test_a_batch_is_three_requests_and_a_replay_as_many_whatever_the_elements(
    s3: dict[str, Any], requests: Counted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(fsspec_config.conf, "s3", {name: s3[name] for name in ("endpoint_url", "key", "secret")})
    configure(store=f"s3://bucket/{uuid.uuid4().hex}", cluster="threads", workers=2, trust_store=True)

    @tensorlake_function()
    def numbers(n: int) -> list[int]:
        return list(range(n))

    @tensorlake_function()
    def double(x: int) -> int:
        return 2 * x

    graph = Graph("counted", numbers).add_edge(numbers, double)
    graph.run(n=1)  # keeps the functions' code
    asked = Counter(requests(lambda: graph.run(n=600)))
    graph.run(n=2)
    few, many = len(requests(lambda: graph.run(n=2))), len(requests(lambda: graph.run(n=600)))
    configure(cluster="threads", workers=2)

    # a batch lists what an earlier attempt may have left, and puts a payload and a record; the rest is the run's own
    assert asked["list_objects_v2"] <= asked["put_object"] / 2 + 8
    assert asked["get_object"] <= 4
    assert few == many <= 18
