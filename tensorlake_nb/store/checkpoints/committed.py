"""Find committed outputs by their records: segments, and whole streams whose outputs lie in them.

Nothing here touches a value. A record says which tasks a segment holds, the digests of their outputs and what each of
its objects must be, so that most of a replay is answered out of records alone.

Damage is never an accident of the caller's: a damaged segment is marked, so that it isn't used again, noted in
`Documents.damage`, and raised as `CorruptCheckpointError`. What was in it is then simply not there, and is computed
again.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import replace

from tensorlake_nb.core.batches.batch import Span
from tensorlake_nb.core.keys import Digest, TaskKey, stream_digest
from tensorlake_nb.errors import (
    CheckpointNotFoundError,
    CorruptCheckpointError,
    StoreError,
    StoreUnavailableError,
    StoreVersionError,
)
from tensorlake_nb.store.checkpoints.documents import Documents
from tensorlake_nb.store.filesystems.protocol import Filesystem
from tensorlake_nb.store.filesystems.retrying import expected, listed
from tensorlake_nb.store.format.outcomes import TaskOutcome
from tensorlake_nb.store.format.paths import (
    BAD_SUFFIX,
    RECORD,
    age_of,
    bad_path,
    is_part,
    segment_path,
    segments_path,
    stream_path,
    writer_of,
)
from tensorlake_nb.store.format.record import is_signed
from tensorlake_nb.store.format.sealing import seal, unseal
from tensorlake_nb.store.format.segment import Segment
from tensorlake_nb.store.format.stream_record import StreamRecord
from tensorlake_nb.store.format.trust import Keys
from tensorlake_nb.store.reading.recent import Recent

logger = logging.getLogger(__name__)

_RECORDS_BYTES = 128 * 2**20
_RECORDS_AT_ONCE = 500


class CommittedRecords(Documents):
    """Records of segments and streams: each is verified when it is read, and a segment's is then kept for a while."""

    def __init__(self, filesystem: Filesystem, *, trusted: bool, keys: Keys) -> None:
        super().__init__(filesystem, trusted=trusted, keys=keys)
        self._records: Recent[Segment] = Recent(_RECORDS_BYTES)

    # Segments

    def segment(self, name: str) -> Segment:
        """Return the verified record of a segment.

        Raises
        ------
        CheckpointNotFoundError
            It was never committed.
        CorruptCheckpointError, StoreVersionError
            It was, and can't be used.
        """
        segment = self._records.get(name)
        if segment is None:
            path = f"{segment_path(name)}/{RECORD}"
            try:
                raw = expected(lambda: self.filesystem.get(path))
            except FileNotFoundError:
                raise CheckpointNotFoundError(f"{path} doesn't exist: {name} was never committed, or removed") from None
            segment = self._checked(name, path, raw)
        return segment

    def segments_of(self, fingerprint: str, writer: str | None = None) -> list[Segment]:
        """Return a function's readable segments, of one writer or of all, oldest first."""
        names = self._listed(fingerprint)
        if writer is not None:
            names = [name for name in names if writer_of(name) == writer]
        return [*self._usable(f"{fingerprint}/{name}" for name in names).values()]

    def digests(self, spans: Iterable[Span]) -> bytes:
        """Digests of outputs, 32 bytes each, end to end."""
        return b"".join(self._referred(span).digests[32 * span.start : 32 * span.stop] for span in spans)

    def completed(self, outcome: TaskOutcome) -> TaskOutcome:
        """Return an outcome with its digests, read from the segments that it refers to.

        Raises
        ------
        CheckpointNotFoundError, CorruptCheckpointError
            One of those segments has gone, or is damaged.
        """
        outputs = outcome.outputs
        if isinstance(outputs.held, bytes):
            return outcome
        return replace(outcome, outputs=replace(outputs, held=self.digests(outputs.spans)))

    def _listed(self, fingerprint: str) -> Sequence[str]:
        """Names of a function's segments that aren't marked as damaged, oldest first."""
        names = self.filesystem.list(segments_path(fingerprint))
        bad = {name.removesuffix(BAD_SUFFIX) for name in names if name.endswith(BAD_SUFFIX)}
        named = (name for name in names if "~" in name and is_part(name) and not name.endswith(BAD_SUFFIX))
        return sorted((name for name in named if name not in bad), key=age_of)

    def _usable(self, names: Iterable[str]) -> dict[str, Segment]:
        """Segments by name, in order, without those that are missing or can't be used."""
        found = {name: self._records.get(name) for name in names}
        missing = [name for name, segment in found.items() if segment is None]
        for start in range(0, len(missing), _RECORDS_AT_ONCE):
            part = missing[start : start + _RECORDS_AT_ONCE]
            paths = [f"{segment_path(name)}/{RECORD}" for name in part]
            for name, path, raw in zip(part, paths, listed(self.filesystem.get_many, paths), strict=True):
                if raw is None:  # not committed, perhaps never to be
                    continue
                try:
                    found[name] = self._checked(name, path, raw)
                except StoreError:
                    logger.debug("left %s out", name)
        return {name: segment for name, segment in found.items() if segment is not None}

    def _checked(self, name: str, path: str, raw: bytes) -> Segment:
        try:
            segment = self._segment(name, path, raw)
        except CorruptCheckpointError as error:
            self.quarantine(name, str(error))
            raise
        except StoreVersionError as error:
            self.report(str(error))
            raise
        self._records.put(name, segment, segment.size_bytes)
        return segment

    def _segment(self, name: str, path: str, raw: bytes) -> Segment:
        return Segment(name, path, raw, vouched=self.trusted or is_signed(raw, self.keys))

    def _referred(self, span: Span) -> Segment:
        try:
            segment = self.segment(span.segment)
        except CheckpointNotFoundError as error:
            self.quarantine(span.segment, str(error))
            raise
        if not 0 <= span.start <= span.stop <= segment.outputs:
            raise CorruptCheckpointError(
                f"{span.segment} holds {segment.outputs} outputs, but {span.start} to {span.stop} are referred to"
            )
        return segment

    def _outcomes(self, segment: Segment) -> dict[TaskKey, TaskOutcome]:
        """Return the tasks of a segment whose outputs may be read, with their digests."""
        found = {}
        is_simple = not segment.refers and segment.is_readable(0, segment.outputs)
        for key, outcome in segment.outcomes().items():
            with suppress(CheckpointNotFoundError, CorruptCheckpointError):  # what it refers to has gone
                if is_simple or all(self._referred(s).is_readable(s.start, s.stop) for s in outcome.outputs.spans):
                    found[key] = self.completed(outcome)
        return found

    # Streams

    def put_stream(self, fingerprint: str, given: Digest, record: StreamRecord, *, replaces: bool = False) -> None:
        """Record a node's whole stream under the digest of its input stream; a readable one stays.

        Parameters
        ----------
        replaces
            The stream was computed anew on purpose: from now on this one is found.
        """
        path = stream_path(fingerprint, given)
        data = seal(path, self.signed(path, record.to_json()))
        if replaces:
            self.filesystem.put_atomic(path, data)
            return
        if not self.filesystem.create(path, data) and self.get_stream(fingerprint, given) is None:
            self.filesystem.put_atomic(path, data)

    def get_stream(self, fingerprint: str, given: Digest) -> StreamRecord | None:
        """Return a node's whole stream; ``None`` if it is missing, or refers to a damaged, removed or wrong object.

        One that is neither signed nor trusted isn't believed: its elements are looked up one by one.
        """
        path = stream_path(fingerprint, given)
        try:
            content = unseal(path, self.filesystem.get(path), vouched=self.trusted)
            if not self.vouches(path, content):
                return None
            record = StreamRecord.of_json(path, content, self.digests)
            there: dict[str, set[str]] = {}
            for segment in record.segments:
                of, _, name = segment.partition("/")
                if of not in there:
                    there[of] = set(self._listed(of))
                if name not in there[of]:
                    return None
            if not self.trusted and not self._speaks_truly(path, record):
                return None
        except FileNotFoundError:
            return None
        except (StoreError, ValueError) as error:
            if isinstance(error, StoreUnavailableError):
                raise
            self.report(str(error))
            return None
        return record

    def _speaks_truly(self, path: str, record: StreamRecord) -> bool:
        """Return True if a stream's outputs are still the signed ones: others may have replaced segments."""
        segments = self._usable(record.segments)
        if len(segments) < len(record.segments):
            return False
        spans = [(segments[span.segment], span.start, span.stop) for span in record.outputs.spans]
        if record.digest != stream_digest(segment.digests[32 * start : 32 * stop] for segment, start, stop in spans):
            for segment in segments.values():
                if not segment.vouched:
                    self.quarantine(segment.name, f"{path} bears your signature, and {segment.path} isn't as it says")
            return False
        return all(segment.is_readable(start, stop) for segment, start, stop in spans)

    # Damage

    def quarantine(self, segment: str, reason: str) -> None:
        """Mark a segment as damaged: it isn't found from now on, and its outputs are computed again."""
        self.report(reason)
        self._records.forget(segment)
        try:
            path = bad_path(segment)
            self.filesystem.put_atomic(path, seal(path, reason.encode(errors="backslashreplace")))
        except StoreUnavailableError:  # a store that can only be read: this object forgets it at least
            logger.warning("can't mark %s as damaged", segment)

    def forget(self) -> None:
        """Read every record anew from now on: something was removed."""
        self._records.clear()
