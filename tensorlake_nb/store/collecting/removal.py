"""Find the objects that a store can do without, and remove them.

What is needed is decided anew from what lies in the store, and things are removed in an order in which every
beginning of it leaves a correct store: runs before what they need, a stream's record before the segments that it
names, a segment's record before its objects, and a damaged segment before its mark. So a collection that is
interrupted, or done by several at once, is one that frees less.

Nothing here knows which runs are under way: that is asked of whoever collects.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, groupby, islice

from tensorlake_nb.store.checkpoints.store import Store
from tensorlake_nb.store.claims.lease import Lease
from tensorlake_nb.store.claims.ledger import unused
from tensorlake_nb.store.collecting.needs import NEW, NOBODY, Names, Needs, names_of, places, union
from tensorlake_nb.store.collecting.retention import Retention, Verdict, candidates, how_many_fit, verdict
from tensorlake_nb.store.collecting.survey import SurveyedRun, is_left, run_names, survey, survey_run, texts
from tensorlake_nb.store.collecting.tally import (
    Tally,
    _Entry,
    _is_segment,
    _run_of_stream,
    _segments_of,
    _Stream,
    _streams_of,
)
from tensorlake_nb.store.filesystems.local import LocalFilesystem
from tensorlake_nb.store.filesystems.protocol import Found
from tensorlake_nb.store.format.paths import (
    BAD_SUFFIX,
    CLAIMS,
    RECORD,
    RUNS,
    SEGMENTS,
    SPOOLS,
    STREAMS,
    bad_path,
    began_at,
    is_fingerprint,
    is_part,
    made_at,
    run_of,
    segment_path,
    spools_path,
    writer_of,
)
from tensorlake_nb.store.writing import recovery

#: The parts around the node's name in the name of a batch's writer.
_AROUND_NODE = re.compile(r"^\d{8}-\d{6}-[0-9a-f]{6}-|-\d+(-[0-9a-f]{6})?(-\d+)?$")
_AT_ONCE = 200
_NAMES_AT_ONCE = 500

#: True if a process drives a run whose end isn't recorded.
IsLive = Callable[[SurveyedRun], bool]
#: True if a run that has a lease may be driven.
IsLeased = Callable[[Lease], bool]


class Collection:
    """One collection: what goes is known when it is made, and goes with `remove`.

    Attributes
    ----------
    tallies
        By kind (``"run"``, ``"segment"``, ``"stream"``, ``"damaged"``, ``"left over"``) and graph or function.
    dropped
        Ids of the runs that go.
    notes
        Remarks for people.
    """

    def __init__(
        self,
        store: Store,
        retention: Retention,
        is_live: IsLive,
        is_leased: IsLeased = lambda lease: True,
        *,
        now: float | None = None,
    ) -> None:
        self._store, self._files, self._is_live, self._is_leased = store, store.filesystem, is_live, is_leased
        self._retention = retention
        self._now = time.time() if now is None else now
        self.tallies: dict[tuple[str, str], Tally] = {}
        self.notes: list[str] = []
        self._titles: dict[str, str] = {}
        self._needs = Needs()
        self._unrecorded: list[SurveyedRun] = []
        self._runs = self._ordered(survey(store))
        self._stay = len(self._runs)
        self._stay = self._how_many_stay()
        self.dropped = tuple(run.run_id for run in self._runs[self._stay :])
        self._survivors = names_of(())
        self._count()

    # -- deciding --

    def _ordered(self, surveyed: Iterable[SurveyedRun]) -> list[SurveyedRun]:
        """All recorded runs: those that stay in any case, then those that may go, newest first."""
        runs = {}
        for run in surveyed:
            if run.has_header:
                runs[run.run_id] = run
            elif not self._is_young(began_at(run.run_id)):
                self._unrecorded.append(run)
        live = {run_id for run_id, run in runs.items() if not run.has_ended and self._is_live(run)}
        known = [run.known(is_live=run.run_id in live) for run in runs.values()]
        may_go = [each.run_id for each in candidates(known, self._retention, self._now)]
        stay = sorted(runs.keys() - set(may_go), reverse=True)
        self._first_candidate = len(stay)
        ordered = [runs[run_id] for run_id in [*stay, *may_go]]
        for rank, run in enumerate(ordered):
            self._take_in(run, rank, is_live=run.run_id in live)
        self._needs.add_names([(rank, run.segments) for rank, run in enumerate(ordered)])
        self._protect_streams(self._needs.live)
        return ordered

    def _take_in(self, run: SurveyedRun, rank: int, *, is_live: bool) -> None:
        self._needs.add(run.run_id, run.functions, rank, is_whole=run.is_whole, is_live=is_live)
        for fingerprint, name in run.functions.items():
            self._titles.setdefault(fingerprint, name)
        if not run.is_whole:
            of = f"outputs of {', '.join(sorted(set(run.functions.values())))} are" if run.functions else "it is"
            self.notes.append(f"the record of run {run.run_id} is damaged: {of} kept whole as long as the run is")

    def _protect_streams(self, fingerprints: Iterable[str]) -> None:
        """Protect the segments that streams of functions name: a run under way may replay the streams as a whole."""
        named: list[Names] = []
        for fingerprint in sorted(fingerprints):
            for _, text in texts(self._store, self._stream_files(_streams_of(fingerprint))):
                named.append(names_of(name.encode() for name in _segments_of(text or b"")))
        if named:
            self._needs.add_names([(NEW, union(named))])

    def _how_many_stay(self) -> int:
        if self._retention.max_bytes is None:
            return self._first_candidate
        sizes = [run.size_bytes for run in self._runs]
        others = sum(each.size_bytes for top in (STREAMS, SPOOLS) for each in self._files.walk(top))
        for entry, rank, fate in self._fates():  # as if every run stayed
            if fate == "kept":
                if 0 <= rank < len(sizes) and self._verdict(entry, NOBODY, set()) != "kept":
                    sizes[rank] += entry.size_bytes
                else:
                    others += entry.size_bytes
        split = self._first_candidate
        return split + how_many_fit(others + sum(sizes[:split]), sizes[split:], self._retention.max_bytes)

    def _verdict(self, entry: _Entry, rank: int, spooled: set[str]) -> Verdict:
        fingerprint, _, name = entry.name.partition("/")
        touched = [each.changed_at for each in entry.objects if each.changed_at is not None]
        return verdict(
            is_young=self._is_young(max([made_at(name) or 0.0, *touched])),
            is_live=fingerprint in self._needs.live or run_of(name) in self._needs.live_runs or rank == NEW,
            is_marked=entry.is_marked,
            is_committed=entry.is_committed,
            is_spooled=writer_of(name) in spooled,
            is_needed=rank < self._stay,
        )

    def _is_young(self, at: float | None) -> bool:
        return at is not None and self._now - at <= self._retention.grace_s

    # -- what is there --

    def _functions(self, top: str) -> Iterator[tuple[str, str]]:
        """Fingerprints with something below ``segments`` or ``streams``, and where."""
        for head in sorted(self._files.list(top)):
            for fingerprint in sorted(self._files.list(f"{top}/{head}")):
                if is_fingerprint(fingerprint) and fingerprint[:2] == head:
                    yield fingerprint, f"{top}/{head}/{fingerprint}"

    def _batches(self) -> Iterator[list[_Entry]]:
        """Every segment, those of one function together, some at a time."""
        for fingerprint, where in self._functions(SEGMENTS):
            entries = self._entries(fingerprint, where)
            while some := list(islice(entries, _AT_ONCE)):
                yield some

    def _entries(self, fingerprint: str, where: str) -> Iterator[_Entry]:
        names = set(self._files.list(where))
        marked = {name.removesuffix(BAD_SUFFIX) for name in names if name.endswith(BAD_SUFFIX)}
        for name, objects in groupby(self._files.walk(where), lambda found: found.path[len(where) + 1 :].split("/")[0]):
            if name in names and not name.endswith(BAD_SUFFIX):
                names.discard(name)
                if _is_segment(name):
                    yield _Entry(f"{fingerprint}/{name}", tuple(objects), name in marked)
                    marked.discard(name)
        # Marks of what has gone, and directories whose objects were removed before a kill.
        for name in sorted(marked.union(name for name in names if not name.endswith(BAD_SUFFIX))):
            if _is_segment(name):
                yield _Entry(f"{fingerprint}/{name}", (), name in marked)

    def _stream_files(self, where: str) -> Iterator[Found]:
        return (each for each in self._files.walk(where) if is_part(each.name))

    def _streams(self, where: str, fingerprint: str) -> Iterator[_Stream]:
        for each, text in texts(self._store, self._stream_files(where)):
            yield _Stream(each.path, each.size_bytes, self._is_stream_freed(fingerprint, text))

    def _is_stream_freed(self, fingerprint: str, text: bytes | None) -> bool:
        """Return True if no remaining run has the stream's function, or its record names missing segments."""
        if fingerprint in self._needs.live:
            return False
        if text is None:
            return True
        run_id = _run_of_stream(text)
        if self._is_young(began_at(run_id)) or run_id in self._needs.live_runs:
            return False
        used = min(self._needs.uses.get(fingerprint, NOBODY), self._needs.rank_of.get(run_id, NOBODY))
        if used >= self._stay:
            return True
        segments = _segments_of(text)
        is_there = (places(self._survivors, segments) >= 0).tolist()
        return any(
            not there and not self._is_young(made_at(name)) for name, there in zip(segments, is_there, strict=True)
        )

    # -- counting --

    def _count(self) -> None:
        for rank, run in enumerate(self._runs):
            self._tally("run", run.graph, run.size_bytes, is_freed=rank >= self._stay)
        for run in self._unrecorded:
            self._tally("left over", "runs that never began", run.size_bytes, is_freed=True)
        survivors, some = list[Names](), list[bytes]()
        for entry, _, fate in self._fates():
            kind = "segment" if fate in ("kept", "not needed") else fate
            self._tally(kind, self._title(entry), entry.size_bytes, is_freed=fate != "kept")
            if fate == "kept" and entry.is_committed and not entry.is_marked:
                some.append(entry.name.encode())
            if len(some) == _NAMES_AT_ONCE:
                survivors.append(names_of(some))
                some.clear()
        self._survivors = union([*survivors, names_of(some)])
        for fingerprint, where in self._functions(STREAMS):
            for stream in self._streams(where, fingerprint):
                self._tally("stream", "", stream.size_bytes, is_freed=stream.is_freed)
        for each in self._left():
            self._tally("left over", "files that were never finished", each.size_bytes, is_freed=True)
        for each in self._claims():
            self._tally("left over", "claims of runs that are over", each.size_bytes, is_freed=True)

    def _fates(self) -> Iterator[tuple[_Entry, int, Verdict]]:
        """Every segment with the rank of who needs it, and what becomes of it."""
        last, spooled = "", set[str]()
        for entries in self._batches():
            fingerprint = entries[0].name.partition("/")[0]
            if fingerprint != last:
                last, spooled = fingerprint, self._spooled(fingerprint)
            for entry, rank in zip(entries, self._needs.ranks([entry.name for entry in entries]), strict=True):
                yield entry, rank, self._verdict(entry, rank, spooled)

    def _spooled(self, fingerprint: str) -> set[str]:
        """Writers whose spools are still there: they live, or can't be told to be dead from here."""
        return {writer_of(name) for name in recovery.spool_names(self._store, fingerprint)}

    def _left(self) -> Iterator[Found]:
        """Files that never got their names, since whoever wrote them died."""
        if isinstance(self._files, LocalFilesystem):
            for top in (RUNS, STREAMS, SEGMENTS, SPOOLS, CLAIMS):
                for each in self._files.walk(top):
                    if is_left(each) and not self._is_young(each.changed_at):
                        yield each

    def _claims(self) -> Iterator[Found]:
        """Claims of runs that are over; what is just being written isn't touched."""
        return (each for each in unused(self._store, self._is_leased) if not is_left(each))

    def _tally(self, kind: str, title: str, size_bytes: int, *, is_freed: bool) -> None:
        self.tallies.setdefault((kind, title), Tally()).add(size_bytes, is_freed=is_freed)

    def _title(self, entry: _Entry) -> str:
        fingerprint, _, name = entry.name.partition("/")
        known = self._titles.get(fingerprint)
        if known is None:
            known = _AROUND_NODE.sub("", writer_of(name)).partition("~")[0]
        return known

    # -- removing --

    def remove(self) -> None:
        """Remove what goes. Interrupted anywhere, and begun again or not, it leaves a correct store.

        Raises
        ------
        StoreUnavailableError
            The store can't be written to, or reached.
        """
        self._look_again(at_all=True)
        for run in [*self._runs[self._stay :], *self._unrecorded]:
            self._remove_run(run)
        for fingerprint, where in self._functions(STREAMS):
            gone = (stream for stream in self._streams(where, fingerprint) if stream.is_freed)
            while some := list(islice(gone, _AT_ONCE)):
                self._look_again()
                if fingerprint not in self._needs.live:
                    self._files.remove_all([stream.path for stream in some])
        doomed = (entry for entry, _, fate in self._fates() if fate != "kept")
        while batch := list(islice(doomed, _AT_ONCE)):
            self._look_again()
            self._remove_segments(batch)
        left = chain(self._left(), self._claims())
        while some_left := list(islice(left, _AT_ONCE)):
            self._files.remove_all([each.path for each in some_left])
        self._prune_spools()
        self._store.forget()

    def _look_again(self, *, at_all: bool = False) -> None:
        """See which runs have begun since the store was surveyed, or (``at_all``) have been gone on with."""
        surveyed = {run.run_id: run for run in [*self._runs, *self._unrecorded]}
        for run_id in run_names(self._store):
            known = surveyed.get(run_id)
            if run_id in self._needs.live_runs or (known is not None and not at_all):
                continue
            if known is not None and known.parts == len(self._files.list(f"{RUNS}/{run_id}/events")):
                continue
            run = survey_run(self._store, run_id)
            if run.has_header:
                self._take_in(run, NEW, is_live=True)
                self._needs.add_names([(NEW, run.segments)])
                self._protect_streams(run.functions)

    def _remove_run(self, run: SurveyedRun) -> None:
        """Its header first: from then on there is no such run."""
        base = f"{RUNS}/{run.run_id}"
        if run.run_id in self._needs.live_runs or len(self._files.list(f"{base}/events")) != run.parts:
            return  # another process has resumed it
        if ("header" in self._files.list(base)) != run.has_header:
            return  # it has begun, or another collection runs
        self._files.remove_all([f"{base}/header"])
        self._files.remove_all([each.path for each in self._files.walk(base)])
        self._prune([base, *(f"{base}/{name}" for name in self._files.list(base))])

    def _remove_segments(self, entries: Sequence[_Entry]) -> None:
        ranks = self._needs.ranks([entry.name for entry in entries])
        still = [
            entry for entry, rank in zip(entries, ranks, strict=True) if self._verdict(entry, rank, set()) != "kept"
        ]
        records = [each.path for entry in still for each in entry.objects if each.name == RECORD]
        marks = [bad_path(entry.name) for entry in still if entry.is_marked]
        others = [each.path for entry in still for each in entry.objects]
        self._files.remove_all(records)
        self._files.remove_all(sorted(set(others) - set(records) - set(marks)))
        self._files.remove_all(marks)
        self._prune(segment_path(entry.name) for entry in still)

    def _prune_spools(self) -> None:
        """Each run looks through the directories of spools, so those that are empty go."""
        self._prune(map(spools_path, filter(is_fingerprint, self._files.list(SPOOLS))))

    def _prune(self, directories: Iterable[str]) -> None:
        """Remove what a local disk has of directories without objects."""
        if isinstance(self._files, LocalFilesystem):
            self._files.prune(directories)
