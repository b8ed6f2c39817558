"""What is fuzzed: for each reader a mutation of something valid, and what it does with that.

Checksums are made right again after most mutations, or nothing behind them would ever be reached.
"""

from __future__ import annotations

import json
import random
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgpack

from tensorlake_nb import Graph, Run, RunNotFoundError, configure, tensorlake_function
from tensorlake_nb.core.planning.blueprint import from_json
from tensorlake_nb.core.values.digest import digest
from tensorlake_nb.engine.calls.context import Effects
from tensorlake_nb.errors import StoreError
from tensorlake_nb.store.checkpoints.run_log import RunLog
from tensorlake_nb.store.checkpoints.store import Store
from tensorlake_nb.store.codecs.codec import PICKLE, decode, decode_all, encode
from tensorlake_nb.store.filesystems.local import LocalFilesystem
from tensorlake_nb.store.format.compression import compress
from tensorlake_nb.store.format.record import base64_of, read_record, unfolded, write_record
from tensorlake_nb.store.format.sealing import seal, unseal
from tensorlake_nb.store.format.segment import Segment
from tensorlake_nb.store.format.spool_frames import _HEAD, MAGIC, frame_of, read_spool
from tensorlake_nb.store.format.stream_record import StreamRecord
from tensorlake_nb.store.format.trust import keys_of
from tests.conformance.v1.write_store import TASKS
from tests.fuzz.mutations import mutated_bytes, mutated_data
from tests.support.stores import FINGERPRINT, OTHER

GOLDEN = Path(__file__).parents[1] / "conformance" / "v1" / "store"
STRANGER = keys_of("stranger" * 8)

Target = Callable[[random.Random], None]


class Fuzz:
    """The valid things, and the targets by name; each raises what isn't an error of ours, and nothing else."""

    def __init__(self, folder: Path) -> None:
        (record,) = GOLDEN.glob(f"segments/*/{FINGERPRINT}/*/zarr.json")
        self._segment = f"{FINGERPRINT}/{record.parent.name}"
        self._record = record.read_bytes()
        self._objects = {
            path.relative_to(record.parent).as_posix(): path.read_bytes() for path in _files(record.parent)
        }
        (self._spool,) = (path.read_bytes() for path in GOLDEN.glob("spool/*/*"))
        (stream,) = GOLDEN.glob(f"streams/*/{OTHER}/*")
        self._stream_path = stream.relative_to(GOLDEN).as_posix()
        self._stream = unseal(self._stream_path, stream.read_bytes())
        encoded = [encode(value, digest=digest(value)) for outputs in TASKS.values() for value in outputs]
        self._values = [(each.codec, each.packed().data) for each in encoded if each.codec != PICKLE]
        self._effects = Effects({"key": b"\x92\xa7msgpack\x01"}, {"timer": 1.0}, {"counter": 2}).packed() or b""
        self._store = Store(LocalFilesystem(folder / "store"), trusted=False, keys=STRANGER)
        self._run_id, self._header, self._events = recorded_run(folder / "run")
        self.targets: dict[str, Target] = {
            name.removeprefix("fuzz_"): getattr(self, name) for name in dir(self) if name.startswith("fuzz_")
        }

    def fuzz_record(self, chance: random.Random) -> None:
        raw = mutated_bytes(self._record, chance) if chance.random() < 0.2 else self._forged(chance)
        with suppress(StoreError):
            segment = Segment(self._segment, "zarr.json", raw)
            list(segment.all_keys())
            segment.outcomes()

    def fuzz_segment(self, chance: random.Random) -> None:
        """A forged record, then everything in it read from a store."""
        base = f"segments/{FINGERPRINT[:2]}/{self._segment}"
        for path, data in self._objects.items():
            self._store.filesystem.put(f"{base}/{path}", data)
        self._store.filesystem.put(f"{base}/zarr.json", self._forged(chance))
        self._store.filesystem.remove(f"{base}.bad")
        store = Store(self._store.filesystem, trusted=False, keys=STRANGER)
        with suppress(StoreError):
            index = store.index(FINGERPRINT)
            for segment in index.segments:
                for outcome in segment.outcomes().values():
                    for span in outcome.outputs.spans:
                        with suppress(StoreError):
                            store.read((span,))

    def fuzz_sealed(self, chance: random.Random) -> None:
        with suppress(StoreError):
            unseal("path", mutated_bytes(seal("path", self._stream * chance.choice((1, 20))), chance), vouched=False)

    def fuzz_spool(self, chance: random.Random) -> None:
        frames = self._frames()
        at = chance.randrange(len(frames))
        kind, body = frames[at]
        if chance.random() < 0.5 and kind in (1, 3):
            body = _packed(mutated_data(msgpack.unpackb(body), chance))
        else:
            body = mutated_bytes(body, chance)
        frames[at] = (chance.choice((kind, kind, chance.randrange(256))), body)
        raw = MAGIC + b"".join(frame_of(*frame) for frame in frames)
        if chance.random() < 0.2:
            raw = mutated_bytes(raw, chance)
        read_spool(raw, STRANGER)
        path = f"spool/{FINGERPRINT}/w~{'0' * 14}{'1' * 8}.spool"
        self._store.filesystem.put(path, raw)
        with suppress(StoreError):
            self._store.recover()
        self._store.filesystem.remove(path)

    def fuzz_stream(self, chance: random.Random) -> None:
        content = mutated_bytes(self._stream, chance)
        if chance.random() < 0.8:
            content = json.dumps(mutated_data(json.loads(self._stream), chance)).encode("utf-8", "surrogatepass")
        with suppress(StoreError):
            StreamRecord.of_json("path", content, self._store.digests)

    def fuzz_value(self, chance: random.Random) -> None:
        codec, data = chance.choice(self._values)
        assert isinstance(data, bytes)
        if codec == "msgpack" and chance.random() < 0.5:
            data = _packed(_mutated_ext(msgpack.unpackb(data, strict_map_key=False), chance))
        else:
            data = mutated_bytes(data, chance)
        with suppress(StoreError):
            decode(codec, data, trusted=False)
        with suppress(StoreError):
            decode_all([codec], [data], trusted=False)

    def fuzz_effects(self, chance: random.Random) -> None:
        data = mutated_bytes(self._effects, chance)
        if chance.random() < 0.6:
            data = _packed(mutated_data(msgpack.unpackb(self._effects), chance))
        with suppress(StoreError):
            Effects.unpacked(data)

    def fuzz_header(self, chance: random.Random) -> None:
        with suppress(StoreError):
            from_json(mutated_data(self._header, chance))

    def fuzz_run(self, chance: random.Random) -> None:
        """A run whose events somebody has changed, opened and looked at."""
        path = f"runs/{self._run_id}/events/00000001"
        store = Run.open(self._run_id)._store
        events = mutated_data(self._events, chance)
        if chance.random() < 0.7:
            events = [*self._events]
            at = chance.randrange(len(events))
            events[at] = mutated_data(events[at], chance)
        lines = b"".join(json.dumps(event).encode() + b"\n" for event in events)
        store.filesystem.put_atomic(path, seal(path, mutated_bytes(lines, chance) if chance.random() < 0.2 else lines))
        with suppress(StoreError, RunNotFoundError):
            run = Run.open(self._run_id)
            run.summary()
            run.snapshot()
            list(run.failures)

    def _forged(self, chance: random.Random) -> bytes:
        about: Any
        arrays: Any
        about, arrays = read_record("", self._record)
        about.pop("checksum")
        if chance.random() < 0.2:
            name = chance.choice(("routes", "effects", "refers"))
            plain = unfolded(about[name]) if name in about else {0: [[self._segment, 0, 1]]}
            packed = _packed(mutated_data(plain, chance))
            about[name] = {"size": len(packed), "zstd": base64_of(compress(packed))}
        elif chance.random() < 0.6:
            about = mutated_data(about, chance)
        else:
            arrays = mutated_data(arrays, chance)
        if not isinstance(about, dict) or not isinstance(arrays, dict):
            return b""
        return write_record(about, arrays)

    def _frames(self) -> list[tuple[int, bytes]]:
        frames, at = [], len(MAGIC)
        while at < len(self._spool):
            length, kind = _HEAD.unpack_from(self._spool, at)
            frames.append((kind, self._spool[at + _HEAD.size : at + _HEAD.size + length]))
            at += _HEAD.size + length + 16
        return frames


def recorded_run(folder: Path) -> tuple[str, dict[str, Any], list[dict[str, Any]]]:
    """A run with a map and a fold: its id, header and events."""

    @tensorlake_function
    def numbers(n: int) -> list[int]:
        return list(range(n))

    @tensorlake_function
    def doubled(n: int) -> int:
        return 2 * n

    @tensorlake_function(accumulate=int)
    def added(total: int, n: int) -> int:
        return total + n

    configure(store=str(folder), cluster="threads", workers=1)
    run = Graph("fuzzed", start_node=numbers).add_edge(numbers, doubled).add_edge(doubled, added).run(n=5)
    log = RunLog(run._store, run.id)
    header, events = log.header(), [dict(event) for event in log.events()]
    for name in run._store.list(f"runs/{run.id}/events"):
        run._store.filesystem.remove(f"runs/{run.id}/events/{name}")
    return run.id, header, events


def _packed(value: Any) -> bytes:
    """The value as msgpack; what msgpack has no form for as nothing."""
    try:
        packed: bytes = msgpack.packb(value, unicode_errors="surrogatepass")
    except (OverflowError, ValueError, TypeError):
        packed = msgpack.packb(None)
    return packed


def _mutated_ext(value: Any, chance: random.Random) -> Any:
    """Plain data with something inside one of its extension types changed, or its type."""
    if isinstance(value, msgpack.ExtType):
        if chance.random() < 0.3:
            return msgpack.ExtType(chance.randrange(1, 34), value.data)
        try:
            inner = msgpack.unpackb(value.data, strict_map_key=False)
        except Exception:
            return msgpack.ExtType(value.code, mutated_bytes(value.data, chance))
        return msgpack.ExtType(value.code, _packed(_mutated_ext(inner, chance)))
    if isinstance(value, list) and value and chance.random() < 0.8:
        at = chance.randrange(len(value))
        return [_mutated_ext(item, chance) if position == at else item for position, item in enumerate(value)]
    if isinstance(value, dict) and value and chance.random() < 0.8:
        name = chance.choice(list(value))
        return {**value, name: _mutated_ext(value[name], chance)}
    return mutated_data(value, chance)


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and path.name != "zarr.json"]


def scratch() -> tempfile.TemporaryDirectory[str]:
    """A directory for what has to be on a disk."""
    return tempfile.TemporaryDirectory(prefix="tensorlake-nb-fuzz-")
