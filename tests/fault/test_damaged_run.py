"""Stored objects damaged in every way, under a whole run: a right result or an error of ours, never a wrong value."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from blake3 import blake3

from tensorlake_nb import Graph, Run, RunError, TaskFailedError, configure, tensorlake_function
from tensorlake_nb.errors import StoreVersionError
from tensorlake_nb.store.checkpoints.opening import open_store
from tensorlake_nb.store.claims import meeting as sharing
from tensorlake_nb.store.claims.lease import Lease, put_lease
from tensorlake_nb.store.claims.ledger import Ledger
from tensorlake_nb.store.format.segment import LARGE_BYTES
from tests.support.notes import Notes
from tests.support.stores import add


@tensorlake_function()
def numbers(n: int) -> list[int]:
    return list(range(n))


@tensorlake_function()
def square(x: int) -> Any:
    return np.full((20, 20), x * x)


@tensorlake_function(inject_ctx=True)
def label(ctx: Any, x: int) -> dict[str, int]:
    ctx.request_state.set("last", x)
    return {"x": x}


@tensorlake_function()
def big(x: int) -> bytes:
    return bytes([x]) * (LARGE_BYTES + 1 if x < 2 else 1)


@tensorlake_function(accumulate=list)
def collect(found: list[Any], value: Any) -> list[Any]:
    return [*found, int(value.sum())]


#: A run that somebody drove elsewhere.
GONE = "20260102-030405-abcdef"


@pytest.fixture(scope="module", autouse=True)
def _soon_given_up() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sharing, "BEAT_S", 0.01)
        yield


def graph() -> Graph:
    made = Graph(name="damaged", start_node=numbers)
    made.add_edge(numbers, square).add_edge(numbers, label).add_edge(numbers, big)
    return made.add_edge(square, collect)


def right(n: int) -> tuple[Any, Any]:
    return [[400 * x * x for x in range(n)]], [{"x": x} for x in range(n)]


RIGHT = right(12)


def results(run: Run, n: int = 12) -> tuple[Any, Any]:
    arrays = [int(array[3, 4]) for array in run.output(square)]
    assert arrays == [x * x for x in range(n)]
    assert [(set(data), len(data) > LARGE_BYTES) for data in run.output(big)] == [({x}, x < 2) for x in range(n)]
    return run.output(collect), run.output(label)


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store in which the run has ended, and of all that others may have left there something."""
    folder = tmp_path_factory.mktemp("kept")
    configure(store=folder / "store", cluster="threads", workers=2)
    run = graph().run(n=12)
    assert results(run) == RIGHT
    store = open_store(str(folder / "store"))
    labels = run.outputs(label).spans[0].segment
    store.quarantine(labels, "so that there is a mark")
    assert results(graph().run(n=12)) == RIGHT
    fingerprint = labels.partition("/")[0]
    writer = store.writer(fingerprint, "died")
    add(writer, 1, {"x": "of nobody's"})
    writer.abandon()
    owner: dict[str, str | int | float] = {"host": "elsewhere", "pid": 1, "created": 1.0}
    prints = frozenset(path.name for path in (folder / "store" / "segments").glob("*/*"))
    put_lease(store, Lease(GONE, 3, prints, frozenset(), owner))
    for fingerprint in prints:
        Ledger(store, fingerprint, GONE).claim_everything()
    return folder / "store"


def kind_of(path: Path, store: Path) -> str:
    """What sort of stored object a file is."""
    parts = path.relative_to(store).parts
    if path.suffix == ".bad":
        return "mark"
    if parts[0] == "claims":
        return "lease" if parts[1] == "runs" else "ledger"
    if parts[0] == "segments":
        return "segment record" if parts[-1] == "zarr.json" else f"segment {parts[4].partition('_')[0]}"
    if parts[0] == "runs":
        return f"run {parts[2]}"
    return parts[0] if len(parts) > 1 else f"root {parts[0]}"


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0x10
    path.write_bytes(data)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def junk(path: Path) -> None:
    path.write_bytes(b'{"zarr_format": 3, "junk": ' + b"x" * 50)


def newer(path: Path) -> None:
    """Make it one of the next format, as far as it says which it is; its checksum is right."""
    raw = path.read_bytes()
    if path.name == "zarr.json":
        raw = re.sub(rb'"version":1\b', b'"version":2', raw)
        raw = re.sub(rb'"checksum":"[0-9a-f]{64}"', b'"checksum":"%s"' % (b"0" * 64), raw, count=1)
        digits = blake3(raw).hexdigest().encode()
        raw = raw.replace(b'"checksum":"%s"' % (b"0" * 64), b'"checksum":"%s"' % digits, 1)
    else:
        raw = re.sub(rb"^tensorlake_nb (frame|spool) 1", rb"tensorlake_nb \1 2", raw)
    path.write_bytes(raw)


KINDS = [
    *("segment record", "segment payload", "segment values", "segment large", "mark", "streams"),
    *("run header", "run events", "run code", "run state", "spool", "lease", "ledger"),
]
#: Objects that say in which format they are.
VERSIONED = [kind for kind in KINDS if not kind.startswith("segment")]
DAMAGES = [flip, cut, empty, junk, Path.unlink]
CASES = [*((kind, damage) for kind in KINDS for damage in DAMAGES), *((kind, newer) for kind in VERSIONED)]


def damaged(kept: Path, store: Path, kind: str, damage: Callable[[Path], None]) -> None:
    """Copy the store, and damage every object of a kind in the copy."""
    shutil.copytree(kept, store)
    files = [path for path in sorted(store.rglob("*")) if path.is_file()]
    hit = [path for path in files if kind_of(path, store) == kind]
    assert hit, sorted({kind_of(path, store) for path in files})
    for path in hit:
        damage(path)


def test_all_kinds_of_objects_are_in_the_store_and_tried(kept: Path) -> None:
    found = {kind_of(path, kept) for path in kept.rglob("*") if path.is_file()}

    assert found == {*KINDS, "root zarr.json", "root .gitignore"}


@pytest.mark.parametrize(("kind", "damage"), CASES, ids=lambda part: getattr(part, "__name__", part))
def test_damage_is_recomputed_and_never_returned(
    kept: Path, tmp_path: Path, kind: str, damage: Callable[[Path], None]
) -> None:
    damaged(kept, tmp_path / "store", kind, damage)
    configure(store=tmp_path / "store", cluster="threads", workers=2)

    assert results(graph().run(n=12)) == RIGHT
    assert results(graph().run(n=12)) == RIGHT, "and once more"


@pytest.mark.parametrize("damage", [*DAMAGES, newer], ids=lambda damage: damage.__name__)
@pytest.mark.parametrize("kind", ["lease", "ledger"])
def test_a_run_that_meets_damaged_claims_is_right_and_waits_for_nobody_who_is_gone(
    kept: Path, tmp_path: Path, kind: str, damage: Callable[[Path], None]
) -> None:
    damaged(kept, tmp_path / "store", kind, damage)
    configure(store=tmp_path / "store", cluster="threads", workers=2)

    run = graph().run(n=14)

    assert results(run, 14) == right(14)
    assert {name: run.counts(name)["computed"] for name in ("square", "label", "big")} == dict.fromkeys(
        ("square", "label", "big"), 2
    )
    assert not any((tmp_path / "store" / "claims" / "runs").iterdir()) or kind == "lease"


@pytest.mark.parametrize("damage", [flip, empty, Path.unlink], ids=lambda damage: damage.__name__)
def test_a_run_whose_inputs_are_damaged_asks_for_them_and_replays_what_is_finished(
    tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    notes = Notes(str(tmp_path / "notes"))

    @tensorlake_function()
    def first(x: int) -> int:
        notes.add("first")
        return x + 1

    @tensorlake_function()
    def second(x: int) -> int:
        notes.add("second")
        if notes.all().count("second") == 1:
            raise ValueError("not yet")
        return x + 1

    made = Graph("without_inputs", first)
    made.add_edge(first, second)
    configure(store=tmp_path / "store", cluster="threads", workers=1)
    with pytest.raises(TaskFailedError):
        made.run(x=1)
    (run,) = Run.list()
    shutil.copytree(tmp_path / "store", tmp_path / "found")  # as another kernel finds it
    for path in (tmp_path / "found" / "segments").rglob("*"):
        if path.is_file() and "-inputs~" in str(path):
            damage(path)
    shutil.copytree(tmp_path / "found", tmp_path / "with less")
    for folder in ("segments", "streams"):
        for path in (tmp_path / "with less" / folder).rglob("*"):
            if path.is_file() and "-inputs~" not in str(path):
                path.unlink()

    configure(store=tmp_path / "found", cluster="threads", workers=1)
    assert Run.open(run.id).resume().output(second) == [3], "what follows needs no inputs"
    assert notes.all() == ["first", "second", "second"]
    configure(store=tmp_path / "with less", cluster="threads", workers=1)
    with pytest.raises(RunError, match="Start a new run with the same inputs"):
        Run.open(run.id).resume()
    assert notes.all() == ["first", "second", "second"]

    assert made.run(x=1).output(second) == [3]


@pytest.mark.parametrize("damage", [flip, cut, empty, junk], ids=lambda damage: damage.__name__)
def test_a_store_whose_own_record_is_damaged_gets_a_new_one_and_says_so(
    kept: Path, tmp_path: Path, damage: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    damaged(kept, tmp_path / "store", "root zarr.json", damage)

    configure(store=tmp_path / "store", cluster="threads", workers=2)

    assert results(graph().run(n=12)) == RIGHT
    assert any(r"zarr.json" in said and "written anew" in said for said in caplog.messages)


def test_outputs_of_a_newer_format_are_refused_by_name(kept: Path, tmp_path: Path) -> None:
    damaged(kept, tmp_path / "store", "segment record", newer)
    configure(store=tmp_path / "store", cluster="threads", workers=2)

    with pytest.raises(StoreVersionError, match=r"zarr\.json was written in format 2"):
        results(graph().run(n=12))


def test_a_store_of_a_newer_format_is_refused_by_name(kept: Path, tmp_path: Path) -> None:
    damaged(kept, tmp_path / "store", "root zarr.json", newer)

    with pytest.raises(StoreVersionError, match=r"zarr\.json"):
        configure(store=tmp_path / "store", cluster="threads", workers=2)


def test_a_store_whose_own_record_is_gone_gets_a_new_one(kept: Path, tmp_path: Path) -> None:
    damaged(kept, tmp_path / "store", "root zarr.json", Path.unlink)
    configure(store=tmp_path / "store", cluster="threads", workers=2)

    assert results(graph().run(n=12)) == RIGHT


@pytest.mark.parametrize("kind", ["run header", "run events", "run code"])
def test_a_damaged_record_of_a_run_does_not_hide_the_others(kept: Path, tmp_path: Path, kind: str) -> None:
    store = tmp_path / "store"
    shutil.copytree(kept, store)
    configure(store=store, cluster="threads", workers=2)
    newer = graph().run(n=3)
    for path in store.rglob("*"):
        if path.is_file() and kind_of(path, store) == kind and newer.id not in path.parts:
            flip(path)

    listed = Run.list()

    assert newer.id in [run.id for run in listed]
    assert [run.status for run in listed if run.id == newer.id] == ["succeeded"]
