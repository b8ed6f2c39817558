"""Runs in a store that others may write to: what the user signed is replayed, what nobody vouches for is computed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tensorlake_nb import (
    Graph,
    RequestContext,
    Run,
    TaskFailedError,
    UntrustedCheckpointError,
    configure,
    tensorlake_function,
)
from tensorlake_nb.engine.calls import loaded as functions
from tensorlake_nb.engine.cluster import session
from tensorlake_nb.store.checkpoints import opening
from tensorlake_nb.store.checkpoints.opening import open_filesystem
from tensorlake_nb.store.checkpoints.run_log import run_ids
from tensorlake_nb.store.checkpoints.store import Store
from tensorlake_nb.store.format import trust as signing
from tensorlake_nb.store.format.trust import KEY_VARIABLE, Keys, keys_of
from tests.support.notes import Notes
from tests.support.stores import Odd, swap

MINE, THEIRS = "mine" * 10, "theirs" * 10


@pytest.fixture(autouse=True)
def _alone(store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(KEY_VARIABLE, raising=False)
    monkeypatch.setattr(session, "_given", dict(session._given))  # or those who configure the next store get its trust
    configure(store=store, trust_store=False)


def another_kernel(monkeypatch: pytest.MonkeyPatch, key: str | None) -> None:
    """Forget what a process knows, and be a user with that key."""
    functions.clear()
    opening._open.clear()
    monkeypatch.setattr(signing, "_made_up", Keys("another" * 10, is_lasting=False))
    monkeypatch.setenv(KEY_VARIABLE, key) if key else monkeypatch.delenv(KEY_VARIABLE, raising=False)
    configure(trust_store=False)


def odd_graph(notes: Notes) -> Graph:
    @tensorlake_function
    def numbers(n: int) -> list[int]:
        return list(range(n))

    @tensorlake_function
    def odd(number: int) -> Odd:
        notes.add(f"odd {number}")
        return Odd(number)

    @tensorlake_function
    def held(it: Odd) -> int:
        notes.add(f"held {it.held}")
        return int(it.held) * 10

    return Graph("trust", start_node=numbers).add_edge(numbers, odd).add_edge(odd, held)


def test_a_run_reads_its_own_pickles_without_any_key(notes: Notes) -> None:
    run = odd_graph(notes).run(n=3)

    assert run.result() == [0, 10, 20]
    assert [each.held for each in run.outputs("odd")] == [0, 1, 2]


def test_worker_processes_are_given_the_keys(notes: Notes, tmp_path: Path) -> None:
    configure(cluster="embedded", workers=2)
    try:
        run = odd_graph(notes).run(n=20)

        assert run.result() == [10 * number for number in range(20)]
        assert [each.held for each in run.outputs("odd")] == list(range(20))
        assert odd_graph(notes).run(n=21).result()[-1] == 200
        assert len(notes.all()) == 2 * 21
        checked = odd_graph(notes).verify(n=21, sample=0.2)
        assert [(each.equal > 0, each.failed + each.different) for each in checked.nodes.values()] == [(True, 0)] * 3
    finally:
        configure(cluster="threads", workers=2)


def test_a_later_kernel_with_the_key_replays(notes: Notes, monkeypatch: pytest.MonkeyPatch) -> None:
    another_kernel(monkeypatch, MINE)
    odd_graph(notes).run(n=3)
    before = len(notes.all())

    another_kernel(monkeypatch, MINE)
    run = odd_graph(notes).run(n=3)

    assert run.result() == [0, 10, 20]
    assert [each.held for each in run.outputs("odd")] == [0, 1, 2]
    assert len(notes.all()) == before


def test_another_user_computes_the_pickles_anew_and_is_told(notes: Notes, monkeypatch: pytest.MonkeyPatch) -> None:
    another_kernel(monkeypatch, THEIRS)
    odd_graph(notes).run(n=3)
    before = len(notes.all())

    another_kernel(monkeypatch, MINE)
    graph = odd_graph(notes)
    forecast = graph.plan(n=3)
    run = graph.run(n=3)

    assert run.result() == [0, 10, 20]
    assert forecast.nodes["odd"].to_compute == run.counts("odd")["computed"] == 3
    assert run.counts("held")["replayed"] == 3  # plain data under equal digests
    assert sorted(notes.all()[before:]) == ["odd 0", "odd 1", "odd 2"]
    assert "3 of its outputs are pickles without your signature" in run.why("odd").summary
    assert odd_graph(notes).run(n=3).counts("odd")["replayed"] == 3


@pytest.mark.parametrize(("node", "value"), [("odd", Odd(9)), ("held", Odd(9)), ("held", 9)])
def test_a_signed_stream_whose_segments_somebody_swapped_is_computed_again(
    notes: Notes, monkeypatch: pytest.MonkeyPatch, store: str, node: str, value: Any
) -> None:
    another_kernel(monkeypatch, MINE)
    first = odd_graph(notes).run(n=3)
    theirs = Store(open_filesystem(store), trusted=False, keys=keys_of(THEIRS))
    for segment in {span.segment for span in first.outputs(node).spans}:
        swap(theirs, segment, [value] * 3)

    another_kernel(monkeypatch, MINE)
    forecast = odd_graph(notes).plan(n=3)
    run = odd_graph(notes).run(n=3)

    assert run.result() == [0, 10, 20]
    assert forecast.nodes[node].to_compute == run.counts(node)["computed"] == 3
    assert [each.held for each in run.outputs("odd")] == [0, 1, 2]
    assert odd_graph(notes).run(n=3).counts(node)["replayed"] == 3


def test_somebody_else_s_run_can_be_looked_at_and_not_gone_on_with(
    notes: Notes, monkeypatch: pytest.MonkeyPatch
) -> None:
    another_kernel(monkeypatch, THEIRS)
    odd_graph(notes).run(n=3)

    another_kernel(monkeypatch, MINE)
    (run_id,) = run_ids(opening.open_store(str(Run.list()[0]._store.url), trusted=False))
    run = Run.open(run_id)

    assert (run.status, run.result()) == ("succeeded", [0, 10, 20])
    with pytest.raises(UntrustedCheckpointError, match="isn't signed with your key"):
        run.resume()
    with pytest.raises(UntrustedCheckpointError, match="isn't signed with your key"):
        run.again("odd")
    with pytest.raises(UntrustedCheckpointError):
        run.output("odd")


def test_one_s_own_run_is_gone_on_with_by_a_later_kernel(notes: Notes, monkeypatch: pytest.MonkeyPatch) -> None:
    another_kernel(monkeypatch, MINE)
    run_id = odd_graph(notes).run(n=3).id
    before = len(notes.all())

    another_kernel(monkeypatch, MINE)
    run = Run.open(run_id)

    assert run.resume().result() == [0, 10, 20]
    assert len(notes.all()) == before
    assert run.again("odd").counts("odd")["computed"] == 3


def test_state_that_only_a_pickle_keeps_is_signed_with_it(notes: Notes, monkeypatch: pytest.MonkeyPatch) -> None:
    @tensorlake_function(inject_ctx=True)
    def sets(ctx: RequestContext, n: int) -> int:
        ctx.request_state.set("odd", Odd(n))
        return n

    @tensorlake_function(inject_ctx=True, cacheable=False)
    def gets(ctx: RequestContext, n: int) -> int:
        return int(ctx.request_state.get("odd").held) + n

    graph = Graph("state", start_node=sets).add_edge(sets, gets)
    another_kernel(monkeypatch, MINE)
    assert graph.run(n=4).result() == 8
    assert graph.run(n=4).result() == 8  # applied again, from what was kept

    another_kernel(monkeypatch, THEIRS)
    with pytest.raises(TaskFailedError, match="UntrustedCheckpointError"):
        graph.run(n=4)
