"""Laws of times: their size is bounded, nothing is lost by joining, and the critical path is a path."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from tensorlake_nb.core.planning.timing import MOST_BARS, Bar, Bars, Outcome, Timing, critical_path, join

outcomes: st.SearchStrategy[Outcome] = st.sampled_from(["computed", "failed", "lost"])
bars = st.builds(
    lambda node, worker, start, lasted, elements, outcome: Bar(
        node, worker, start - 1, start, start + lasted, elements, 1, outcome
    ),
    st.sampled_from("abc"),
    st.sampled_from("xy"),
    st.floats(0, 1000),
    st.floats(0, 10),
    st.integers(1, 100),
    outcomes,
)


@given(st.lists(bars, max_size=60))
def test_joining_keeps_every_element_and_every_moment(found: list[Bar]) -> None:
    joined = join(found)

    assert sum(bar.elements for bar in joined) == sum(bar.elements for bar in found)
    assert {bar.node for bar in joined} == {bar.node for bar in found}
    if found:
        assert min(bar.started_at for bar in joined) == min(bar.started_at for bar in found)
        assert max(bar.ended_at or 0 for bar in joined) == max(bar.ended_at or 0 for bar in found)


def test_a_million_batches_are_some_thousand_bars() -> None:
    kept = Bars()
    for i in range(20 * MOST_BARS):
        kept.add(Bar("a", f"worker {i % 4}", i, i, i + 1.0, 1, 1, "computed"))

    assert len(kept.kept) <= MOST_BARS
    assert kept.is_joined
    assert sum(bar.elements for bar in kept.kept) == 20 * MOST_BARS


@given(st.lists(st.tuples(st.lists(st.integers(0, 9)), st.none() | st.floats(1, 100)), min_size=1, max_size=10))
def test_the_critical_path_follows_edges_to_what_ended_last(nodes: list[tuple[list[int], float | None]]) -> None:
    parents = {str(i): [str(j) for j in before if j < i] for i, (before, _) in enumerate(nodes)}
    ends = {str(i): end for i, (_, end) in enumerate(nodes)}

    path = critical_path((name, parents[name], ends[name], ends[name]) for name in parents)

    assert all(before in parents[after] for before, after in pairwise(path))
    computed = [end for end in ends.values() if end is not None]
    assert bool(path) == bool(computed)
    if computed:
        assert max(end for name in path if (end := ends[name]) is not None) == max(computed)


@given(st.lists(st.tuples(st.floats(0, 10), st.integers(1, 50)), min_size=3, max_size=80))
def test_a_pace_is_never_negative_and_unknown_until_several_are_finished(steps: list[tuple[float, int]]) -> None:
    timing = Timing()
    now = 0.0
    for seen, (gap, size) in enumerate(steps):
        assert timing.rate(now) is None or seen >= 3
        now += gap
        timing.settle(now, size)

    rate = timing.rate(now)
    assert rate is None or rate > 0
