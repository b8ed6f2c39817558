"""Signatures: whose pickles are loaded from a store that others may write to."""

from __future__ import annotations

import grp
import json
import os
import pickle
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tensorlake_nb.core.batches.batch import BARE, Span
from tensorlake_nb.core.keys import stream_digest
from tensorlake_nb.errors import InternalError, OptionError, UntrustedCheckpointError
from tensorlake_nb.store.checkpoints.opening import open_filesystem, open_store
from tensorlake_nb.store.checkpoints.run_log import RunLog
from tensorlake_nb.store.checkpoints.store import Store
from tensorlake_nb.store.format.outcomes import Entry
from tensorlake_nb.store.format.record import is_signed, read_record, write_record
from tensorlake_nb.store.format.segment import Segment
from tensorlake_nb.store.format.stream_record import StreamRecord
from tensorlake_nb.store.format.trust import KEY_VARIABLE, Keys, keys_of, own_keys
from tests.support.stores import (
    FINGERPRINT,
    OTHER,
    Odd,
    add,
    committed,
    key,
    outcome_of,
    segment_directory,
    some_digest,
    stream_of,
    swap,
)

MINE, THEIRS = keys_of("m" * 64), keys_of("t" * 64)
RUN = "20260101-000000-abcdef"


def shared(path: Path, keys: Keys = MINE) -> Store:
    """A store that isn't trusted, as somebody with these keys opens it; it remembers nothing."""
    return Store(open_filesystem(str(path)), trusted=False, keys=keys)


def stream_over(store: Store, spans: Sequence[Span]) -> StreamRecord:
    """The record of a stream of bare values."""
    return stream_of(store, spans, stream_digest([store.digests(spans)]), seconds=1.0, run_id=RUN)


def test_a_signed_pickle_is_read_by_whom_it_is_from_and_by_nobody_else(tmp_path: Path) -> None:
    spans = committed(shared(tmp_path), [Odd(1), "plain"])

    assert shared(tmp_path).read(spans) == [Odd(1), "plain"]
    with pytest.raises(UntrustedCheckpointError, match="isn't signed with your key"):
        shared(tmp_path, THEIRS).read(spans)
    assert shared(tmp_path, THEIRS).read(spans[1:]) == ["plain"]


def test_what_others_pickled_is_a_miss_that_is_said(tmp_path: Path) -> None:
    committed(shared(tmp_path, THEIRS), [Odd(1), "plain"])

    store = shared(tmp_path)

    assert outcome_of(store, 0) is None
    assert outcome_of(store, 1) is not None
    assert "1 outputs of function 5eed5eed as pickles" in store.damage[0]
    assert "TENSORLAKE_NB_SIGNING_KEY" in store.damage[0]


def test_a_record_that_was_changed_and_has_a_right_checksum_isn_t_believed(tmp_path: Path) -> None:
    (span,) = committed(shared(tmp_path), [Odd(1)])
    path = segment_directory(tmp_path, span.segment) / "zarr.json"
    about, arrays = read_record("zarr.json", path.read_bytes())
    signature = about.pop("signature")
    about.pop("checksum")
    forged = write_record({**about, "written": "2027"}, arrays)
    forged_signed = write_record({"signature": signature, **about, "written": "2027"}, arrays)

    for raw in (forged, forged_signed):
        read_record("zarr.json", raw)
        assert not is_signed(raw, MINE)


def test_a_signed_record_that_strayed_is_not_the_record_of_that_place(tmp_path: Path) -> None:
    (span,) = committed(shared(tmp_path), [Odd(1)])
    raw = (segment_directory(tmp_path, span.segment) / "zarr.json").read_bytes()

    assert is_signed(raw, MINE)
    with pytest.raises(Exception, match="belongs to something else"):
        Segment(span.segment + "0", "zarr.json", raw)


def test_an_older_key_still_counts_and_the_newer_one_signs(tmp_path: Path) -> None:
    (old,) = committed(shared(tmp_path), [Odd(1)], name="old")
    both = keys_of(f"{'n' * 64}, {'m' * 64}")

    (new,) = committed(shared(tmp_path, both), [Odd(2)], name="new")

    assert shared(tmp_path, both).read([old, new]) == [Odd(1), Odd(2)]
    assert shared(tmp_path, keys_of("n" * 64)).read([new]) == [Odd(2)]


def test_a_dead_writer_s_signed_pickles_are_recovered_as_the_user_s_own(tmp_path: Path) -> None:
    for keys, number in ((MINE, 1), (THEIRS, 2)):
        writer = shared(tmp_path, keys).writer(FINGERPRINT, f"dead-{number}")
        add(writer, number, Odd(number))
        add(writer, number + 10, "plain")
        writer.abandon()

    store = shared(tmp_path)
    assert store.recover().tasks == 4

    mine, plain, theirs = outcome_of(store, 1), outcome_of(store, 12), outcome_of(store, 2)
    assert mine is not None
    assert plain is not None
    assert theirs is None
    assert shared(tmp_path).read([*mine.outputs.spans, *plain.outputs.spans]) == [Odd(1), "plain"]


def test_somebody_else_s_live_spool_is_read_without_its_pickles(tmp_path: Path) -> None:
    writer = shared(tmp_path, THEIRS).writer(FINGERPRINT, "alive")
    add(writer, 1, Odd(1))
    add(writer, 2, "plain")

    store = shared(tmp_path)

    assert outcome_of(store, 1) is None
    assert outcome_of(store, 2) is not None
    writer.close()


def test_a_writer_s_name_taken_by_somebody_else_settles_nothing_with_pickles(tmp_path: Path) -> None:
    committed(shared(tmp_path, THEIRS), [Odd(1), "plain"], name="batch")

    assert set(shared(tmp_path).writer(FINGERPRINT, "batch").known()) == {key(1)}


def test_a_stream_over_pickles_that_nobody_vouches_for_is_a_miss(tmp_path: Path) -> None:
    for keys, number in ((MINE, 1), (THEIRS, 2)):
        store = shared(tmp_path, keys)
        spans = tuple(committed(store, [Odd(number)], name=f"w{number}"))
        store.put_stream(OTHER, some_digest(number), stream_over(store, spans))

    assert shared(tmp_path).get_stream(OTHER, some_digest(1)) is not None
    assert shared(tmp_path).get_stream(OTHER, some_digest(2)) is None


@pytest.mark.parametrize(
    "values",
    [["other", "values"], [1], [Odd("a"), Odd("b")], []],
    ids=["other values", "fewer", "pickles", "none"],
)
def test_a_signed_stream_whose_segment_was_swapped_is_a_miss_and_so_is_what_took_its_place(
    tmp_path: Path, values: list[Any]
) -> None:
    mine, theirs = shared(tmp_path), shared(tmp_path, THEIRS)
    spans = committed(mine, ["a", "b"])
    mine.put_stream(OTHER, some_digest(1), stream_over(mine, spans))
    swap(theirs, spans[0].segment, values)

    store = shared(tmp_path)

    assert store.get_stream(OTHER, some_digest(1)) is None
    assert "bears your signature" in store.damage[0]
    assert [outcome_of(shared(tmp_path), number) for number in range(2)] == [None, None]
    spans = committed(store, ["a", "b"], name="anew")
    store.put_stream(OTHER, some_digest(1), stream_over(store, spans))
    assert shared(tmp_path).get_stream(OTHER, some_digest(1)) == stream_over(store, spans)


def test_a_signed_stream_over_pickles_that_somebody_else_made_is_a_miss_and_they_stay_his(tmp_path: Path) -> None:
    theirs = shared(tmp_path, THEIRS)
    spans = committed(theirs, [Odd(1)])
    shared(tmp_path).put_stream(OTHER, some_digest(1), stream_over(theirs, spans))

    assert shared(tmp_path).get_stream(OTHER, some_digest(1)) is None
    assert outcome_of(shared(tmp_path, THEIRS), 0) is not None


def test_a_task_that_refers_to_more_than_there_is_is_a_miss_and_harms_nobody(tmp_path: Path) -> None:
    (mine,) = committed(shared(tmp_path), ["a"])
    swap(shared(tmp_path, THEIRS), f"{FINGERPRINT}/forged~{0:022x}", [], refers=(Span(mine.segment, 0, 2),), first=1)

    store = shared(tmp_path)

    assert outcome_of(store, 1) is None
    assert outcome_of(store, 0) is not None
    assert (len(store.index(FINGERPRINT).segments), store.damage) == (2, [])


def test_a_task_that_refers_to_somebody_else_s_pickles_is_a_miss(tmp_path: Path) -> None:
    (span,) = committed(shared(tmp_path, THEIRS), [Odd(1)])
    writer = shared(tmp_path).writer(FINGERPRINT, "refers")
    writer.add(Entry(key(7), BARE, (), refers=(span,)))
    writer.close()

    assert outcome_of(shared(tmp_path), 7) is None


def test_a_run_s_header_tells_who_wrote_it_and_reads_as_ever(tmp_path: Path) -> None:
    RunLog(shared(tmp_path), RUN).create({"graph": "g"})

    assert RunLog(shared(tmp_path), RUN).read_header() == ({"graph": "g"}, True)
    assert RunLog(shared(tmp_path, THEIRS), RUN).read_header() == ({"graph": "g"}, False)
    assert RunLog(open_store(str(tmp_path), trusted=True), RUN).read_header() == ({"graph": "g"}, True)


def test_a_trusted_store_without_a_key_is_written_as_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(KEY_VARIABLE, raising=False)
    for name, environment in (("unsigned", ""), ("signed", "k" * 40)):
        monkeypatch.setenv(KEY_VARIABLE, environment)
        (span,) = committed(open_store(str(tmp_path / name)), ["value"])
        record = json.loads((segment_directory(tmp_path / name, span.segment) / "zarr.json").read_text())
        assert ("signature" in record["attributes"]["tensorlake_nb"]) is (name == "signed")


def test_a_key_is_never_shown_sent_or_kept() -> None:
    keys = keys_of("s" * 64)

    assert "sss" not in f"{keys!r} {keys} {keys.name}"
    with pytest.raises(InternalError):
        pickle.dumps(keys)
    with pytest.raises(OptionError) as refused:
        keys_of("short-key")
    assert "short-key" not in str(refused.value)


def test_a_store_travels_without_its_keys(tmp_path: Path) -> None:
    store = open_store(str(tmp_path), trusted=False, keys=MINE)

    sent = pickle.dumps(store)

    assert b"m" * 32 not in sent
    assert pickle.loads(sent).keys is own_keys()


def test_a_process_without_a_key_vouches_for_what_it_wrote_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(KEY_VARIABLE, raising=False)
    spans = committed(shared(tmp_path, own_keys()), [Odd(1)])

    assert shared(tmp_path, own_keys()).read(spans) == [Odd(1)]
    assert own_keys().texts() == ()
    assert not own_keys().is_lasting


@pytest.mark.skipif(os.name == "nt", reason="no owners and modes there")
def test_a_directory_of_a_group_is_trusted_if_the_group_is_the_user_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tmp_path.chmod(0o775)
    assert open_store(str(tmp_path)).trusted

    others = grp.struct_group(("staff", "x", tmp_path.stat().st_gid, ["somebody"]))
    monkeypatch.setattr(grp, "getgrgid", lambda _: others)
    assert not open_store(str(tmp_path)).trusted


def test_a_copied_store_keeps_its_signatures(tmp_path: Path) -> None:
    spans = committed(shared(tmp_path / "a"), [Odd(1)])
    shutil.copytree(tmp_path / "a", tmp_path / "b")

    assert shared(tmp_path / "b").read(spans) == [Odd(1)]
