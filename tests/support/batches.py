"""Batches made by hand: functions packed, inputs stored, ready for `execute`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from blake3 import blake3

from tensorlake_nb.core.batches.batch import BARE, Batch, Call, Column, Fold, Span
from tensorlake_nb.core.batches.receipt import Receipt
from tensorlake_nb.core.fingerprint.fingerprint import FunctionPrint, fingerprint
from tensorlake_nb.core.functions.function import as_function
from tensorlake_nb.core.keys import Digest, Fingerprint, RunId, TaskKey, fold_start, group_digests
from tensorlake_nb.core.values.digest import digest
from tensorlake_nb.engine.calls.caller import Host
from tensorlake_nb.engine.calls.reporting import Message
from tensorlake_nb.engine.travel.packing import pack
from tensorlake_nb.engine.worker.execute import execute
from tensorlake_nb.store.checkpoints.opening import open_store
from tensorlake_nb.store.checkpoints.store import Store
from tensorlake_nb.store.codecs.classes import ClassTable
from tensorlake_nb.store.codecs.codec import encode
from tensorlake_nb.store.format.outcomes import Entry

RUN = RunId("20260101-000000-abcdef")
_OF_FOLDS = ("combines", "is_shared", "worth_s", "has_more")
INPUTS = Fingerprint(blake3(b"inputs of tests").hexdigest())


@dataclass
class Bench:
    """A store, and batches on it."""

    url: str
    run_id: RunId = RUN
    messages: list[Message] = field(default_factory=list)
    classes: dict[tuple[str, str], type] = field(default_factory=dict)
    _numbers: int = 0

    @property
    def store(self) -> Store:
        return open_store(self.url, trusted=True)

    @property
    def resolver(self) -> ClassTable:
        return ClassTable(self.classes)

    def call(self, function: Any, **options: Any) -> Call:
        """The call of a function, its code in the store."""
        made = as_function(function)
        printed: FunctionPrint = fingerprint(made)
        self.classes.update(printed.classes)
        code = pack(printed, made)
        path = f"runs/{self.run_id}/code/{blake3(code).hexdigest()}"
        self.store.put_bytes(path, code)
        asked = {
            "node": made.name,
            "kind": made.kind,
            "fingerprint": Fingerprint(printed.fingerprint),
            "code_path": path,
            "code_digest": Digest(blake3(code).digest()),
            "timeout_s": made.options.timeout,
            "max_concurrency": made.options.max_concurrency or 1,
            "input_encoder": made.options.input_encoder,
            "output_encoder": made.options.output_encoder,
            "inject_ctx": made.options.inject_ctx,
            "secrets": made.options.secrets,
        }
        return Call(**{**asked, **options})

    def put(self, values: Sequence[Any]) -> tuple[tuple[Span, ...], bytes]:
        """Store values; where they lie, and their digests."""
        if not values:
            return (), b""
        self._numbers += 1
        writer = self.store.writer(INPUTS, f"inputs-{self._numbers}")
        digests = [digest(value) for value in values]
        key = TaskKey(blake3(str(self._numbers).encode()).digest())
        encoded = [encode(value, digest=d, resolver=self.resolver) for value, d in zip(values, digests, strict=True)]
        writer.add(Entry(key, len(encoded), tuple(encoded)))
        writer.close()
        return writer.locate(key).outputs.spans, b"".join(digests)

    def batch(self, call: Call | Sequence[Call], values: Sequence[Any], **options: Any) -> Batch:
        """A batch with one plain value per element."""
        spans, given = self.put(values)
        return self.batch_of(call, (Column(spans),), given, **options)

    def batch_of(self, call: Call | Sequence[Call], columns: tuple[Column, ...], given: bytes, **options: Any) -> Batch:
        calls = (call,) if isinstance(call, Call) else tuple(call)
        self._numbers += 1
        name = options.pop("name", f"{calls[0].node}-{self._numbers}")
        return Batch(
            run_id=options.pop("run_id", self.run_id),
            graph="bench",
            name=name,
            store_url=self.url,
            calls=calls,
            columns=columns,
            given=given,
            **{"budget_s": 60.0, **options},
        )

    def fold(self, call: Call, values: Sequence[Any], accumulator: Span | None = None, **options: Any) -> Batch:
        """A batch that folds values."""
        asked = {name: options.pop(name) for name in _OF_FOLDS if name in options}
        plan = Fold(accumulator, options.pop("rolling", fold_start()), **asked)
        return self.batch(call, values, fold=plan, **options)

    def groups(self, call: Call, groups: Sequence[Sequence[Any]], **options: Any) -> Batch:
        """A batch that folds each group of values by itself."""
        spans, _ = self.put([value for group in groups for value in group])
        rows = b"".join(group_digests("group/1", [digest(value) for value in group]) for group in groups)
        plan = Fold(None, fold_start(), options.pop("combines", False), tuple(len(group) for group in groups))
        return self.batch_of(call, (Column(spans),), rows, fold=plan, **options)

    def run(self, batch: Batch, host: Host | None = None) -> tuple[Receipt, ...]:
        return execute(batch, self.messages.append, host or Host(address="bench"))

    def run_one(self, batch: Batch, host: Host | None = None) -> Receipt:
        (receipt,) = self.run(batch, host)
        return receipt

    def values(self, receipt: Receipt) -> list[Any]:
        """All outputs of a receipt, read back."""
        spans = [span for piece in receipt.pieces for span in piece.outputs.spans]
        return self.store.read(spans, self.resolver)


@dataclass(frozen=True)
class Calls:
    """Remembers calls in a file, which all copies of a function share."""

    path: str

    def note(self, what: object) -> None:
        with open(self.path, "a") as file:
            file.write(f"{what}\n")

    def all(self) -> list[str]:
        path = Path(self.path)
        return path.read_text().splitlines() if path.exists() else []


def counts(receipt: Receipt) -> list[int]:
    """Return the number of outputs of each element of the pieces; -1 for a bare one."""
    return [int(count) for piece in receipt.pieces for count in piece.outputs.each_count]


__all__ = ["BARE", "RUN", "Bench", "Calls", "counts"]
