"""`chaos`: what it says of good graphs, of bad ones, and of a store that shows work done twice."""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest
from IPython.lib.pretty import pretty

from tensorlake_nb import Graph, OptionError, tensorlake_function
from tensorlake_nb.store.format.outcomes import Entry
from tensorlake_nb.store.writing import recovery
from tensorlake_nb.testing import ChaosReport, Faults, chaos, faulty_url
from tensorlake_nb.testing.chaos import _Chaos
from tensorlake_nb.testing.evidence import committed_twice
from tests import soak
from tests.support.stores import FINGERPRINT, add, encoded, key, local_store


@pytest.mark.parametrize("as_objects", [False, True], ids=["disk", "objects"])
def test_a_graph_is_right_whatever_is_killed_and_fails(tmp_path: Path, as_objects: bool) -> None:
    @tensorlake_function()
    def numbers(n: int) -> list[int]:
        return list(range(n))

    @tensorlake_function()
    def doubled(x: int) -> int:
        time.sleep(0.05)  # so that the run isn't over before anything is killed
        return 2 * x

    @tensorlake_function()
    def paired(left: int, right: int) -> tuple[int, int]:
        return left, right

    graph = Graph("paced", numbers).add_edge(numbers, doubled)
    graph.add_edge(numbers, paired, into="left").add_edge(doubled, paired, into="right")

    report = chaos(
        graph, {"n": 60}, seed=5, worker_kills=1, driver_kills=1, object_store=as_objects, folder=tmp_path / "chaos"
    )

    report.check()
    assert sum(report.kills.values()) > 0
    assert sum(report.faults.values()) > 0
    assert report.tasks > 60


def test_a_function_that_gives_something_else_each_time_is_named(tmp_path: Path) -> None:
    @tensorlake_function()
    def numbers(n: int) -> list[int]:
        return list(range(n))

    @tensorlake_function()
    def guessed(x: int) -> float:
        return random.random()

    report = chaos(Graph("guessing", numbers).add_edge(numbers, guessed), {"n": 3}, worker_kills=0, driver_kills=0)

    assert report.differing == ("guessed",)
    with pytest.raises(AssertionError, match="other ones from guessed"):
        report.check()


def test_a_task_that_was_committed_twice_is_counted(tmp_path: Path) -> None:
    store = local_store(tmp_path)
    for name, numbers in (("first", (1, 2, 3)), ("second", (3, 4)), ("third", (3,))):
        writer = store.writer(FINGERPRINT, name)
        for number in numbers:
            add(writer, number, number)
        writer.close()

    assert committed_twice(store, {"work": FINGERPRINT}) == ({"work": 1}, 4)


def test_a_copy_of_what_a_living_writer_holds_is_no_second_call(tmp_path: Path) -> None:
    store = local_store(tmp_path)
    writer = store.writer(FINGERPRINT, "living")
    add(writer, 1, "one")
    (contents,) = recovery.live_spools(store, FINGERPRINT)
    recovery.save(store, contents)
    writer.close()
    segments = store.segments_of(FINGERPRINT)

    assert [key(1) in segment.outcomes() for segment in segments] == [True, True]
    assert committed_twice(store, {"work": FINGERPRINT}) == ({}, 1)


def test_parts_of_a_list_that_was_begun_twice_are_not_counted(tmp_path: Path) -> None:
    store = local_store(tmp_path)
    for name in ("killed", "whole"):
        writer = store.writer(FINGERPRINT, name)
        writer.add(Entry(key(100), 2, (encoded(1), encoded(2))))
        writer.flush()
        if name == "whole":
            writer.add(Entry(key(1), 2, (), refers=writer.locate(key(100)).outputs.spans))
        writer.close()

    assert committed_twice(store, {"work": FINGERPRINT}) == ({}, 1)


def test_a_lease_is_left_over_and_what_was_killed_before_it_had_a_name_is_not(tmp_path: Path) -> None:
    leases = tmp_path / "store" / "claims" / "runs"
    leases.mkdir(parents=True)
    for name in ("20260101-000000-abcdef", ".20260101-000000-abcdef.0123456789ab"):
        (leases / name).touch()

    chaos_of_nothing = _Chaos(Graph("nothing", tensorlake_function()(abs)), {}, 0, tmp_path)
    assert chaos_of_nothing._left_in_store() == ["claims/runs/20260101-000000-abcdef"]


def test_a_report_is_read_by_people() -> None:
    report = ChaosReport("pages", 7, 300, again={"fetch": 2}, kills={"worker": 1}, leftovers=("process 12",))

    assert pretty(report) == str(report)
    assert str(report).splitlines()[0] == "chaos on 'pages', seed 7: something is wrong"
    assert "computed again after that: 2 fetch" in str(report)
    assert "process 12" in str(report)
    assert ChaosReport("pages", 7, 300).check().is_good


def test_faults_travel_in_the_url_and_are_checked(tmp_path: Path) -> None:
    faults = Faults(before=0.25, slow_s=0.5, seed=3, log=str(tmp_path / "log"))

    assert Faults.of_query(faults.to_query()) == faults
    assert "before=0.25" in faulty_url(tmp_path, faults)
    with pytest.raises(OptionError, match="at most 1 together"):
        Faults(before=0.7, after=0.7)
    with pytest.raises(OptionError, match="nonsense"):
        Faults.of_query({"nonsense": "1"})


def test_a_soak_of_some_seconds_finds_nothing() -> None:
    found = soak.main(seconds=0.0, seed=3)

    assert found.is_good, str(found)
    assert found.rounds == 1
