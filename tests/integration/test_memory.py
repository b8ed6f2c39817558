"""Memory stays bounded, measured as what processes hold at their peak, with room for noise.

The data is larger than what any process may take more than before, so nothing here passes by luck.
"""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from tensorlake_nb import Graph, configure, tensorlake_function
from tensorlake_nb.engine.cluster.session import current
from tensorlake_nb.store.filesystems.local import LocalFilesystem
from tests.support.notes import Notes

pytestmark = [pytest.mark.alone, pytest.mark.skipif(os.name == "nt", reason="needs getrusage")]
MIB = 2**20


@pytest.fixture(autouse=True)
def store(tmp_path: Any) -> Iterator[str]:
    """Two fresh processes for each test: peaks don't go down."""
    url = str(tmp_path / "store")
    configure(store=url, cluster="threads", workers=2)
    configure(cluster="embedded", workers=2)
    yield url
    configure(cluster="threads", workers=2)


def peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def workers_peak_bytes() -> int:
    """The largest peak of any worker so far."""
    found: dict[str, int] = current().connection().client.run(peak_bytes)
    return max(found.values())


def test_a_stream_of_items_runs_through_a_map_and_a_fold_in_bounded_memory(notes: Notes) -> None:
    @tensorlake_function()
    def pages(n: int, word: str) -> Iterator[str]:
        for i in range(n):
            yield f"{i:08d}" + 4000 * word
        notes.add("all given")

    @tensorlake_function()
    def marked(page: str) -> str:
        return page + "!"

    @tensorlake_function(accumulate=int)
    def counted(so_far: int, page: str) -> int:
        if so_far == 0:
            notes.add("fold begun")
        return so_far + 1

    graph = Graph("stream", pages).add_edge(pages, marked).add_edge(marked, counted)
    graph.run(n=2000, word="one")
    notes.take()
    kernel, workers = peak_bytes(), workers_peak_bytes()
    n = 32_000
    assert graph.run(n=n, word="two").result() == n

    assert notes.all()[0] == "fold begun", "the fold starts with the first items"
    # A worker keeps what it has read and written lately, some 130 MiB at most.
    assert workers_peak_bytes() - workers < 240 * MIB < n * 12_000
    assert peak_bytes() - kernel < 100 * MIB


def test_a_worker_holds_less_than_three_large_values(store: str) -> None:
    size = 64 * MIB

    @tensorlake_function()
    def seeds(n: int) -> list[int]:
        return list(range(n))

    @tensorlake_function()
    def made(seed: int) -> np.ndarray:
        return np.random.default_rng(seed).random(64 * 2**20 // 8)

    @tensorlake_function()
    def doubled(array: np.ndarray) -> np.ndarray:
        array *= 2
        return array

    graph = Graph("large", seeds).add_edge(seeds, made).add_edge(made, doubled)
    configure(workers=1)
    current().connection().client.run(lambda: __import__("numpy").random.default_rng(0).random(10))
    kernel, workers = peak_bytes(), workers_peak_bytes()
    run = graph.run(n=4)

    assert workers_peak_bytes() - workers < 3 * size
    assert peak_bytes() - kernel < size / 2, "values never pass through the kernel"
    assert run.outputs(doubled)[3][0] == 2 * np.random.default_rng(3).random()


def test_ten_thousand_equal_arrays_are_one_lazy_array(store: str) -> None:
    @tensorlake_function()
    def embed(x: int) -> np.ndarray:
        return np.full(256, x, dtype=np.float32)

    @tensorlake_function()
    def numbers(n: int) -> list[int]:
        return list(range(n))

    run = Graph("embeddings", numbers).add_edge(numbers, embed).run(n=10_000)
    opened = run.outputs(embed).as_dask()

    assert opened.shape == (10_000, 256)
    assert np.asarray(opened[9_999])[0] == 9_999


@pytest.mark.parametrize(("mebibytes", "reads"), [(0.5, 0), (2, 4)], ids=["half a MiB", "two MiB"])
def test_a_child_on_the_same_worker_reads_back_only_what_is_large(
    store: str, monkeypatch: pytest.MonkeyPatch, mebibytes: float, reads: int
) -> None:
    """A value above 1 MiB comes from the system's cache, as quickly as it can be copied twice: it isn't kept twice."""
    read: list[str] = []
    for name in ("get", "get_writable"):
        real = getattr(LocalFilesystem, name)

        def noted(self: LocalFilesystem, path: str, real: Any = real) -> Any:
            read.append(path)
            return real(self, path)

        monkeypatch.setattr(LocalFilesystem, name, noted)
    configure(cluster="threads", workers=1)
    n_values = int(mebibytes * 2**17)

    @tensorlake_function()
    def seeds(n: int) -> list[int]:
        return list(range(n))

    @tensorlake_function()
    def made(seed: int) -> np.ndarray:
        return np.full(n_values, seed)

    @tensorlake_function()
    def summed(array: np.ndarray) -> int:
        return int(array.sum())

    run = Graph("chained", seeds).add_edge(seeds, made).add_edge(made, summed).run(n=4)

    assert run.status == "succeeded"
    assert len([path for path in read if path.startswith("segments/")]) == reads
