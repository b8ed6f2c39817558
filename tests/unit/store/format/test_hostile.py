"""Stores made to do harm: what they hold is refused as damaged, before it takes memory or leads anywhere else."""

from __future__ import annotations

import json
import sys
import threading
import tracemalloc
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import pytest

from tensorlake_nb.core.values.digest import digest
from tensorlake_nb.engine.calls.context import Effects
from tensorlake_nb.errors import CheckpointNotFoundError, CorruptCheckpointError, UntrustedCheckpointError
from tensorlake_nb.store.checkpoints.opening import open_filesystem
from tensorlake_nb.store.checkpoints.store import Store
from tensorlake_nb.store.claims import ledger as claims
from tensorlake_nb.store.claims.lease import leases
from tensorlake_nb.store.claims.ledger import Ledger, unused
from tensorlake_nb.store.codecs.codec import decode, encode
from tensorlake_nb.store.codecs.msgpack_write import Ext
from tensorlake_nb.store.format.paths import ledger_path
from tensorlake_nb.store.format.record import base64_of, folded, read_record, write_record
from tensorlake_nb.store.format.sealing import seal
from tensorlake_nb.store.format.segment import Segment
from tensorlake_nb.store.format.spool_frames import ENTRY, MAGIC, frame_of, read_spool
from tensorlake_nb.store.format.trust import keys_of
from tests.support.stores import FINGERPRINT, committed, key, outcome_of, segment_directory

MINE, THEIRS = keys_of("m" * 64), keys_of("t" * 64)
RUN = "20260101-000000-abcdef"
MEBIBYTE = 2**20


def store_of(path: Path, keys: Any = THEIRS) -> Store:
    return Store(open_filesystem(str(path)), trusted=False, keys=keys)


@contextmanager
def little_memory() -> Iterator[None]:
    """What is done inside takes at most 40 MiB."""
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < 40 * MEBIBYTE
    finally:
        tracemalloc.stop()


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, dict[str, Any], dict[str, Any]]:
    """A segment of an array and a text: its name, what its record says, and its arrays."""
    root = tmp_path_factory.mktemp("store")
    (span, _) = committed(store_of(root), [np.arange(6.0), "text"])
    about, arrays = read_record("", (segment_directory(root, span.segment) / "zarr.json").read_bytes())
    for name in ("checksum", "signature"):
        about.pop(name)
    return span.segment, about, arrays


def renamed(arrays: dict[str, Any], name: str) -> dict[str, Any]:
    return {name if old == "values" else old: layout for old, layout in arrays.items()}


def reshaped(arrays: dict[str, Any], shape: list[int], chunks: list[int]) -> dict[str, Any]:
    grid = {"name": "regular", "configuration": {"chunk_shape": chunks}}
    return {**arrays, "values": {**arrays["values"], "shape": shape, "chunk_grid": grid}}


Forge = Callable[[dict[str, Any], dict[str, Any]], tuple[dict[str, Any], dict[str, Any]]]
FORGERIES: dict[str, Forge] = {
    "more outputs than digests": lambda about, arrays: ({**about, "outputs": 3 * 10**7}, arrays),
    "objects above": lambda about, arrays: ({**about, "objects": {"../../x/c.0": [1, "00" * 32]}}, arrays),
    "objects at the root": lambda about, arrays: ({**about, "objects": {"/etc/passwd": [1, "00" * 32]}}, arrays),
    "an array above": lambda about, arrays: (
        {**about, "arrays": [{**about["arrays"][0], "name": "../../values"}]},
        renamed(arrays, "../../values"),
    ),
    "a row of terabytes": lambda about, arrays: (about, reshaped(arrays, [1, 10**12], [1, 10**6])),
    "a row of a billion chunks": lambda about, arrays: (about, reshaped(arrays, [1, 10**9], [1, 1])),
    "a shape beyond all numbers": lambda about, arrays: (about, reshaped(arrays, [1, 10**30], [1, 10**30])),
    "a payload of terabytes": lambda about, arrays: (
        about,
        {**arrays, "payload": {**arrays["payload"], "shape": [10**13]}},
    ),
    "another function's outputs": lambda about, arrays: (
        {**about, "refers": folded({0: [["../" + FINGERPRINT, 0, 1]]})},
        arrays,
    ),
    "a bomb": lambda about, arrays: ({**about, "refers": folded({0: bytes(64 * MEBIBYTE)})}, arrays),
}


@pytest.mark.parametrize("name", FORGERIES)
def test_a_forged_record_is_damage(name: str, parts: tuple[str, dict[str, Any], dict[str, Any]]) -> None:
    segment, about, arrays = parts
    raw = write_record(*FORGERIES[name](about, arrays))

    with little_memory(), pytest.raises(CorruptCheckpointError):
        Segment(segment, "zarr.json", raw)


@pytest.mark.parametrize(
    "routes", [[[[["a"], ["b"]]], {0: 0}], [[[["a"]]], {0: 7}], [[[["a"]]], {99: 0}], ["a"], bytes(8)], ids=str
)
def test_routes_that_fit_no_outputs_are_damage_when_they_are_read(
    routes: Any, parts: tuple[str, dict[str, Any], dict[str, Any]]
) -> None:
    name, about, arrays = parts
    segment = Segment(name, "zarr.json", write_record({**about, "routes": folded(routes)}, arrays))

    for read in (lambda: segment.outcome(0), lambda: segment.block_at(0, 2)):
        with pytest.raises(CorruptCheckpointError, match="senseless routes"):
            read()


def test_a_sealed_object_out_of_all_proportion_is_refused_where_nobody_vouches(tmp_path: Path) -> None:
    store, path = store_of(tmp_path), f"runs/{RUN}/code/bomb"
    store.filesystem.put(path, seal(path, bytes(64 * MEBIBYTE)))

    with little_memory(), pytest.raises(CorruptCheckpointError, match="nobody vouches"):
        store.get_bytes(path)
    assert len(Store(store.filesystem, trusted=True).get_bytes(path)) == 64 * MEBIBYTE


@pytest.mark.parametrize("value", [np.zeros(8 * MEBIBYTE), "x" * (64 * MEBIBYTE)], ids=["array", "text"])
def test_a_value_out_of_all_proportion_is_refused_where_nobody_vouches(tmp_path: Path, value: Any) -> None:
    spans = committed(store_of(tmp_path, MINE), [value])

    with little_memory(), pytest.raises(CorruptCheckpointError, match="nobody vouches"):
        store_of(tmp_path, THEIRS).read(spans)
    for path in tmp_path.rglob("*.bad"):
        path.unlink()
    assert len(store_of(tmp_path, MINE).read(spans)[0]) == len(value)


def ext(code: Ext, content: Any) -> bytes:
    packed: bytes = msgpack.packb(msgpack.ExtType(code, msgpack.packb(content)))
    return packed


def nested(depth: int) -> bytes:
    data: bytes = msgpack.packb([])
    for _ in range(depth):
        data = msgpack.packb(msgpack.ExtType(Ext.TUPLE, b"\x91" + data))
    return data


endless = msgpack.ExtType(Ext.RANGE, msgpack.packb([0, 10**12, 1]))


@pytest.mark.parametrize(
    "data",
    [
        ext(Ext.TUPLE, endless),
        ext(Ext.DATE, endless),
        ext(Ext.DEQUE, [endless, None]),
        ext(Ext.OBJECTS, [[10**12], endless]),
        ext(Ext.FRACTION, ["1e999999999"]),
        ext(Ext.NDARRAY, ["<f8", [10**12], b""]),
        ext(Ext.NDARRAY, ["U0", [10**12], b""]),
        ext(Ext.NDARRAY, [{"names": ["a"], "formats": ["O"]}, [1], bytes(8)]),
        ext(Ext.ENUM, ["enum", "Enum", [True, "value"]]),
        b"\xdd\xff\xff\xff\xff",
        b"\xdb\xff\xff\xff\xff",
        b"\x91" * 100_000,
        nested(150),
        nested(5000),
    ],
    ids=range(14),
)
def test_hostile_msgpack_is_damage_and_takes_little_memory(data: bytes) -> None:
    with little_memory(), pytest.raises((CorruptCheckpointError, CheckpointNotFoundError)):
        decode("msgpack", data, trusted=False)


@pytest.mark.parametrize("depth", [60, 150, 240])
def test_values_nested_ever_deeper_come_back_whole_on_a_thread(depth: int) -> None:
    value: Any = ()
    for _ in range(depth):
        value = (value,)
    stored = encode(value, digest=digest(value))
    back: list[Any] = []

    thread = threading.Thread(target=lambda: back.append(decode(stored.codec, stored.data)))
    thread.start()
    thread.join()

    assert back == [value]


def test_looking_for_a_class_runs_nothing_of_a_module(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    lazy = types.ModuleType("lazy_module")
    lazy.__getattr__ = asked.append  # type: ignore[method-assign]
    monkeypatch.setitem(sys.modules, "lazy_module", lazy)
    data = ext(Ext.DATACLASS, ["lazy_module", "Anything", {}])

    with pytest.raises(CheckpointNotFoundError):
        decode("msgpack", data, trusted=False)
    with pytest.raises(UntrustedCheckpointError, match="may not choose what is imported"):
        decode("msgpack", ext(Ext.DATACLASS, ["antigravity", "Fly", {}]), trusted=False)

    assert asked == []
    assert "antigravity" not in sys.modules


@pytest.mark.parametrize(
    "value",
    [
        ["msgpack", b"d" * 32, 10**12],
        ["msgpack", 10**12, b""],
        ["ndarray", b"d" * 32, bytes(8), ["O", [1]]],
        ["pickle", b"d" * 32, None, ["../../x", "large", {}, 0, []]],
    ],
)
def test_a_forged_spool_entry_is_left_out(value: list[Any]) -> None:
    header = msgpack.packb({"fingerprint": FINGERPRINT, "writer": "w"})
    entry = msgpack.packb([key(1), -1, [value], None, None, 0.0, None])

    with little_memory():
        contents = read_spool(MAGIC + frame_of(1, header) + frame_of(ENTRY, entry))

    assert contents.entries == {}
    assert "makes no sense" in str(contents.damage)


def test_a_spool_whose_large_value_lies_elsewhere_is_left_out_of_recovery(tmp_path: Path) -> None:
    secret = tmp_path / "large" / "c.0"
    secret.parent.mkdir()
    secret.write_bytes(b"not of the store")
    store = store_of(tmp_path / "store")
    layout = {
        "shape": [16],
        "data_type": "uint8",
        "chunk_grid": {"configuration": {"chunk_shape": [16]}},
        "codecs": [{"name": "bytes"}],
    }
    objects = [["../../../../../large/c.0", 16, b"d" * 32]]
    value = ["msgpack", b"d" * 32, None, [f"{FINGERPRINT}/w~1", "large", layout, 0, objects]]
    header = msgpack.packb({"fingerprint": FINGERPRINT, "writer": "w", "host": "", "locked": True})
    entry = msgpack.packb([key(1), -1, [value], None, None, 0.0, None])
    store.filesystem.put(f"spool/{FINGERPRINT}/w~1.spool", MAGIC + frame_of(1, header) + frame_of(ENTRY, entry))

    store.recover()

    assert outcome_of(store, 1) is None


@pytest.mark.parametrize("content", [None, [], [1, 2, 3], [{"k": 10**12}, {}, {}], [{}, {"t": "x"}, {}], "abc"])
def test_senseless_effects_are_damage(content: Any) -> None:
    with little_memory(), pytest.raises(CorruptCheckpointError):
        Effects.unpacked(msgpack.packb(content))


@pytest.mark.parametrize("header", [None, [], [1], "text", {1: 2}])
def test_a_spool_whose_header_is_no_header_is_damage(header: Any) -> None:
    contents = read_spool(MAGIC + frame_of(1, msgpack.packb(header)))

    assert (contents.writer, contents.entries) == ("", {})
    assert contents.damage


# Claims: nobody vouches for them, so they are bounded before they are believed.

LEASE: dict[str, Any] = {
    "beat": 1,
    "fingerprints": [FINGERPRINT],
    "answered": [],
    "owner": {"host": "h", "pid": 1, "created": 1.0},
}
PART: dict[str, Any] = {"run": RUN, "kind": "some", "names": base64_of(np.arange(3, dtype="<u8"))}
ANSI = "\x1b[2J<script>\u202e"


def put_claim(store: Store, path: str, content: Any) -> None:
    store.filesystem.put(path, seal(path, json.dumps(content).encode()))


def huge(store: Store, path: str) -> None:
    """A file that says it is 2 GiB long."""
    store.filesystem.put(path, b"tensorlake_nb frame 1 raw 5")
    with open(store.filesystem.path(path), "r+b") as file:  # type: ignore[attr-defined]
        file.truncate(2**31)


@pytest.mark.parametrize(
    "content",
    [
        None,
        [],
        {**LEASE, "beat": "x" * 10**6},
        {**LEASE, "beat": ANSI},
        {**LEASE, "beat": 1e400},
        {**LEASE, "fingerprints": ["../../.."]},
        {**LEASE, "fingerprints": [ANSI]},
        {**LEASE, "fingerprints": [1] * 10**6},
        {**LEASE, "fingerprints": FINGERPRINT},
        {**LEASE, "answered": [[]] * 10**6},
        {**LEASE, "owner": {"host": "h", "pid": 10**400, "created": 1.0}},
        {**LEASE, "owner": {"host": "h", "pid": -1, "created": 1.0}},
        {**LEASE, "owner": ANSI},
    ],
    ids=range(13),
)
def test_a_forged_lease_is_left_out_and_its_text_is_shown_as_text(
    tmp_path: Path, content: Any, caplog: pytest.LogCaptureFixture
) -> None:
    store = store_of(tmp_path)
    put_claim(store, f"claims/runs/{RUN}", content)
    put_claim(store, "claims/runs/right", LEASE)

    with little_memory():
        assert [lease.run_id for lease in leases(store)] == ["right"]
    assert [found.name for found in unused(store, lambda lease: True)] == [RUN]
    assert not set(ANSI) & set(caplog.text) - set("<script>[2J")
    assert all(len(record.getMessage()) < 1000 for record in caplog.records)


@pytest.mark.parametrize(
    "content",
    [
        None,
        {**PART, "run": "../../x"},
        {**PART, "run": ANSI},
        {**PART, "run": "r" * 10**6},
        {**PART, "kind": "every"},
        {**PART, "names": "\u00e9"},
        {**PART, "names": "AAAA"},
        {**PART, "names": [1] * 10**5},
    ],
    ids=range(8),
)
def test_a_forged_part_of_a_ledger_is_left_out(tmp_path: Path, content: Any, caplog: pytest.LogCaptureFixture) -> None:
    store = store_of(tmp_path)
    put_claim(store, f"{ledger_path(FINGERPRINT)}/00000001", content)
    put_claim(store, f"{ledger_path(FINGERPRINT)}/00000002", PART)

    with little_memory():
        held = Ledger(store, FINGERPRINT, "mine").claim(np.arange(5, dtype=np.uint64))

    assert {run_id: mask.tolist() for run_id, mask in held.items()} == {RUN: [True, True, True, False, False]}
    assert "\x1b" not in caplog.text
    assert "\u202e" not in caplog.text


@pytest.mark.parametrize("path", [f"claims/runs/{RUN}", f"{ledger_path(FINGERPRINT)}/00000001"])
@pytest.mark.parametrize(
    "put",
    [
        huge,
        lambda store, path: store.filesystem.put(path, seal(path, bytes(64 * MEBIBYTE))),
        lambda store, path: store.filesystem.put(path, b"\xff" * 5 * MEBIBYTE),
        lambda store, path: store.filesystem.put(path + "/inside", b""),
    ],
    ids=["a huge file", "a bomb", "much", "a directory"],
)
def test_a_claim_larger_than_any_is_never_read_whole(
    tmp_path: Path, path: str, put: Callable[[Store, str], None]
) -> None:
    store = store_of(tmp_path)
    put(store, path)

    with little_memory():
        assert [*leases(store)] == []
        assert Ledger(store, FINGERPRINT, "mine").claim(np.arange(5, dtype=np.uint64)) == {}


@pytest.mark.parametrize(
    "name", ["99999999", "9" * 255, "-0000001", "00000002.x", "\u0661\u0661\u0661\u0661\u0661\u0661\u0661\u0661"]
)
def test_a_part_with_a_number_of_nobody_s_ends_no_claiming(tmp_path: Path, name: str) -> None:
    store = store_of(tmp_path)
    store.filesystem.put(f"{ledger_path(FINGERPRINT)}/{name}", b"")
    ledger = Ledger(store, FINGERPRINT, "mine")

    assert ledger.claim(np.arange(5, dtype=np.uint64)) == {}
    ledger.announce(np.arange(9, dtype=np.uint64))
    ledger.release()


@pytest.mark.parametrize(
    ("limit", "parts"),
    [
        ("_MOST_PARTS", [PART] * 5),
        ("_MOST_CLAIMANTS", [{**PART, "run": f"run-{number}", "kind": "all"} for number in range(5)]),
        ("_MOST_NAMES", [{**PART, "names": base64_of(np.arange(100, dtype="<u8"))}]),
    ],
)
def test_a_ledger_of_more_than_runs_ever_claim_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str, parts: list[Any]
) -> None:
    monkeypatch.setattr(claims, limit, 4)
    store = store_of(tmp_path)
    for number, part in enumerate(parts, 1):
        put_claim(store, f"{ledger_path(FINGERPRINT)}/{number:08d}", part)
    before = store.filesystem.list(ledger_path(FINGERPRINT))
    ledger = Ledger(store, FINGERPRINT, "mine")

    assert ledger.claim(np.arange(5, dtype=np.uint64)) == {}
    ledger.claim_everything()

    assert store.filesystem.list(ledger_path(FINGERPRINT)) == before
    assert ledger.claimants == frozenset()


def test_leases_without_end_are_damage_to_whoever_wants_a_few(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = store_of(tmp_path)
    for number in range(5):
        put_claim(store, f"claims/runs/run-{number}", LEASE)

    assert len([*leases(store)]) == 5
    with pytest.raises(CorruptCheckpointError, match="5 leases"):
        [*leases(store, most=4)]
    monkeypatch.setattr("tensorlake_nb.store.claims.lease._MOST_LEASES_BYTES", 400)
    with pytest.raises(CorruptCheckpointError, match="bytes"):
        [*leases(store, most=5)]
