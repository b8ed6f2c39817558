"""From the events of a run to all that is to be done next: whole tuples of instructions, no clock and no cluster."""

from __future__ import annotations

from typing import Any

from tensorlake_nb.core.batches.batch import FailureKind, Span
from tensorlake_nb.core.batches.positions import Slice
from tensorlake_nb.core.functions.function import tensorlake_function
from tensorlake_nb.core.functions.policy import Retries
from tensorlake_nb.core.graphs.builder import GraphBuilder
from tensorlake_nb.core.graphs.plan import Plan, plan_graph
from tensorlake_nb.core.planning.batch_sizes import FIRST_BUDGET_S, FIRST_MOST, fold_budget_s
from tensorlake_nb.core.planning.events import (
    BatchEnded,
    BatchHeld,
    BatchLost,
    BatchSubmitted,
    Chunk,
    ElementFailed,
    Event,
    GatherBegun,
    Gathered,
    NodeOutcome,
    ProbeBegun,
    Probed,
    RunStarted,
    SealBegun,
    Sealed,
    SlotsKnown,
    StopRequested,
    StreamReplayed,
)
from tensorlake_nb.core.planning.evolve import evolve
from tensorlake_nb.core.planning.instructions import End, Gather, Halt, Probe, Seal, Submit
from tensorlake_nb.core.planning.planner import next_instructions
from tensorlake_nb.core.planning.run_state import INPUTS, RunState
from tensorlake_nb.core.planning.validate import validate

RETRIES = Retries(max_retries=1, initial_delay=3.0, jitter=0.0)
#: The run's inputs, and what ``items`` makes of them.
GIVEN = Slice(INPUTS, 0, 1)
PIECE = Slice((0, *GIVEN.address()), 0, 4)
FOUR = Chunk(GIVEN.address(), 1, 4, 1, (Span("s", 0, 4),))


@tensorlake_function()
def items() -> list[int]:
    return []


@tensorlake_function(retries=RETRIES)
def work(x: int) -> int:
    return x


@tensorlake_function(accumulate=int)
def total(t: int, x: int) -> int:
    return t


@tensorlake_function()
def side(x: int) -> int:
    return x


@tensorlake_function()
def both(left: int, right: int) -> int:
    return left


def a_plan(*functions: Any, **options: Any) -> Plan:
    graph = GraphBuilder("g", items, **options)
    for parent, child in zip([items, *functions], functions, strict=False):
        graph.add_edge(parent, child)
    return plan_graph(graph.freeze())


def after(plan: Plan, *events: Event) -> RunState:
    """The state of a run that has begun, after some events."""
    state = RunState.fresh(plan)
    for event in (RunStarted("r", 0.0), *events):
        evolve(state, event)
        validate(state)
    return state


def replayed(node: str, chunk: Chunk) -> tuple[Event, ...]:
    return ProbeBegun(node, ()), StreamReplayed(node, chunk)


def asked(node: str, *slices: Slice) -> tuple[Event, ...]:
    """Elements were looked up, and are not in the store."""
    return ProbeBegun(node, slices), Probed(node, (), slices)


def submitted(number: int, piece: Slice, node: str = "work") -> BatchSubmitted:
    return BatchSubmitted(number, node, (piece,), piece.attempt, 0.0)


def settled(*pieces: Slice) -> tuple[Chunk, ...]:
    return tuple(Chunk(piece.address(), piece.size, piece.size, piece.size, (Span("w", 0, 4),)) for piece in pieces)


def failed(piece: Slice) -> ElementFailed:
    return ElementFailed(piece, FailureKind.ERROR, "ValueError: no", "x")


def ended(number: int, *chunks: Chunk, failures: tuple[ElementFailed, ...] = (), at: float = 1.0) -> BatchEnded:
    return BatchEnded(number, (NodeOutcome("work", chunks, failures, 0.0),), (), len(chunks), at)


def order(number: int, piece: Slice, node: str = "work", depth: int = 1) -> Submit:
    """An order without anything special: a first attempt, unless the slice says otherwise."""
    return Submit(number, node, (piece,), piece.attempt, piece.attempt > 1, FIRST_BUDGET_S, (), depth)


#: Two of the four elements are in a batch; the run has one slot, so a second batch may wait behind it.
UNDER_WAY = (*replayed("items", FOUR), *asked("work", PIECE), submitted(0, PIECE.cut(0, 2)))


def test_what_was_asked_for_is_not_asked_for_again() -> None:
    assert next_instructions(after(a_plan(work), ProbeBegun("items", ())), 0.0) == ()


def test_a_stream_that_is_not_there_is_looked_up_by_element() -> None:
    state = after(a_plan(work), ProbeBegun("items", ()), Probed("items", (), ()))

    assert next_instructions(state, 0.0) == (Probe("items", (GIVEN,)),)


def test_a_missing_element_is_submitted_with_the_chain_behind_it() -> None:
    state = after(a_plan(work), ProbeBegun("items", ()), Probed("items", (), ()), *asked("items", GIVEN))

    assert next_instructions(state, 0.0) == (Submit(0, "items", (GIVEN,), 1, True, FIRST_BUDGET_S, ("work",)),)


def test_a_stream_that_is_replayed_sends_the_next_node_to_the_store() -> None:
    state = after(a_plan(work, total), *replayed("items", FOUR))

    assert next_instructions(state, 0.0) == (Probe("work", ()),)


def test_elements_are_spread_over_the_slots_that_are_known() -> None:
    state = after(a_plan(work), SlotsKnown(4), *replayed("items", FOUR), *asked("work", PIECE))

    assert next_instructions(state, 0.0) == tuple(order(i, PIECE.cut(i, i + 1)) for i in range(4))


def test_of_a_node_two_batches_per_slot_are_under_way() -> None:
    state = after(a_plan(work), *replayed("items", FOUR), *asked("work", PIECE))

    assert next_instructions(state, 0.0) == (order(0, PIECE.cut(0, 1)), order(1, PIECE.cut(1, 2)))


def test_a_failed_element_is_submitted_again_after_its_delay_and_beside_it_what_is_ready() -> None:
    one, two = PIECE.cut(0, 1), PIECE.cut(1, 2)
    state = after(a_plan(work), *UNDER_WAY, ended(0, *settled(two), failures=(failed(one),)))

    again = Slice(one.source, 0, 1, 2)
    assert next_instructions(state, 3.9) == (order(1, PIECE.cut(2, 3)), order(2, PIECE.cut(3, 4)))
    assert next_instructions(state, 4.0) == (order(1, again), order(2, PIECE.cut(2, 3)))


def test_a_failure_without_retries_left_halts_the_run_which_ends_when_nothing_is_under_way() -> None:
    one, last = PIECE.cut(0, 1), Slice(PIECE.source, 0, 1, 2)
    lost = ended(0, *settled(PIECE.cut(1, 2)), failures=(failed(one),))
    state = after(a_plan(work), *UNDER_WAY, submitted(1, PIECE.cut(2, 4)), lost, submitted(2, last))

    evolve(state, ended(2, failures=(failed(last),), at=9.0))
    assert next_instructions(state, 9.0) == (Halt("failed"),)

    evolve(state, StopRequested("failed"))
    assert next_instructions(state, 9.0) == ()

    evolve(state, ended(1, *settled(PIECE.cut(2, 4)), at=10.0))
    assert next_instructions(state, 10.0) == (End("failed"),)


def test_with_continue_a_failure_for_good_leaves_the_rest_to_be_done() -> None:
    usage = ElementFailed(PIECE.cut(0, 1), FailureKind.USAGE, "RouteError: no", "x")
    state = after(a_plan(work, on_error="continue"), *UNDER_WAY, ended(0, *settled(PIECE.cut(1, 2)), failures=(usage,)))

    assert next_instructions(state, 1.0) == (order(1, PIECE.cut(2, 3)), order(2, PIECE.cut(3, 4)))


def test_suspects_of_a_loss_are_submitted_one_at_a_time_each_alone() -> None:
    one, two = PIECE.cut(0, 1), PIECE.cut(1, 2)
    suspects = tuple(ElementFailed(piece, FailureKind.WORKER_LOST, "SIGKILL", "x") for piece in (one, two))
    state = after(a_plan(work), *UNDER_WAY, BatchLost(0, "SIGKILL", 1.0, (), suspects, ()))

    assert next_instructions(state, 1.0) == (order(1, one), order(2, PIECE.cut(2, 3)))

    evolve(state, submitted(1, one))
    assert next_instructions(state, 1.0) == (order(2, two),)


def test_elements_that_another_run_computes_are_looked_up_again_and_the_others_submitted() -> None:
    one, two = PIECE.cut(0, 1), PIECE.cut(1, 2)
    state = after(a_plan(work), *UNDER_WAY, BatchHeld(0, (one,), (two,), ("another",), 1.0, 5.0))

    ready = (order(1, two), order(2, PIECE.cut(2, 3)))
    assert next_instructions(state, 4.9) == ready
    assert next_instructions(state, 5.0) == (Probe("work", (one,)), *ready)


def test_a_settled_element_travels_on_before_the_others_are() -> None:
    settled_ones = settled(PIECE.cut(0, 2))
    state = after(a_plan(work, side), *UNDER_WAY, submitted(1, PIECE.cut(2, 4)), ended(0, *settled_ones))

    arrived = Slice((0, *settled_ones[0].address), 0, 2)
    assert next_instructions(state, 1.0) == (Probe("side", (arrived,)),)


def test_a_node_that_has_ended_is_sealed_and_the_run_ends_after_it() -> None:
    state = after(
        a_plan(work),
        *UNDER_WAY,
        submitted(1, PIECE.cut(2, 4)),
        *(ended(i, *settled(PIECE.cut(2 * i, 2 * i + 2))) for i in (0, 1)),
    )
    assert next_instructions(state, 1.0) == (Seal("work"),)

    evolve(state, SealBegun("work"))
    assert next_instructions(state, 1.0) == ()

    evolve(state, Sealed("work", None))
    assert next_instructions(state, 1.0) == (End("succeeded"),)


def test_a_fold_takes_what_is_there_in_order_and_goes_on_from_its_accumulator() -> None:
    state = after(a_plan(total), *replayed("items", FOUR), ProbeBegun("total", ()), Probed("total", (), ()))

    first = Submit(0, "total", (PIECE,), 1, True, fold_budget_s(0.0), (), 1)
    assert next_instructions(state, 0.0) == (first,)

    so_far = Span("acc", 0, 1)
    evolve(state, BatchSubmitted(0, "total", (PIECE,), 1, 0.0))
    kept = Chunk((0,), 3, 1, 1, (so_far,), None, 3, 0)
    evolve(state, BatchEnded(0, (NodeOutcome("total", (kept,), (), 0.0),), (), 3, 1.0))
    rest = Submit(1, "total", (PIECE.cut(3, 4),), 1, True, fold_budget_s(0.0), (), 1, so_far, 3)
    assert next_instructions(state, 1.0) == (rest,)


def test_a_long_fold_is_told_that_more_is_there() -> None:
    long = Slice(PIECE.source, 0, 3 * FIRST_MOST)
    many = Chunk(GIVEN.address(), 1, long.size, 1, (Span("s", 0, long.size),))
    state = after(a_plan(total), *replayed("items", many), ProbeBegun("total", ()), Probed("total", (), ()))

    assert next_instructions(state, 0.0) == (
        Submit(0, "total", (long.cut(0, FIRST_MOST),), 1, True, fold_budget_s(0.0), (), 1, has_more=True),
    )


def test_a_fold_of_nothing_is_computed_once_and_sealed() -> None:
    none = Chunk(GIVEN.address(), 1, 0, 0, ())
    state = after(a_plan(total), *replayed("items", none), ProbeBegun("total", ()), Probed("total", (), ()))
    assert next_instructions(state, 0.0) == (Submit(0, "total", (), 1, True, fold_budget_s(0.0), (), 1),)

    evolve(state, BatchSubmitted(0, "total", (), 1, 0.0))
    start = Chunk((0,), 0, 1, 1, (Span("acc", 0, 1),), None, 1, 0)
    evolve(state, BatchEnded(0, (NodeOutcome("total", (start,), (), 0.0),), (), 0, 1.0))
    assert next_instructions(state, 1.0) == (Seal("total"),)


def test_a_join_waits_for_all_its_parents_and_forms_its_rows_once() -> None:
    graph = GraphBuilder("g", items).add_edges(items, [work, side]).add_edge(work, both, "left")
    plan = plan_graph(graph.add_edge(side, both, "right").freeze())
    four = Chunk(PIECE.address(), 4, 4, 4, (Span("w", 0, 4),))
    begun = (*replayed("items", FOUR), *replayed("work", four))

    waiting = after(plan, *begun, ProbeBegun("side", ()))
    assert next_instructions(waiting, 0.0) == ()

    state = after(plan, *begun, *replayed("side", four), ProbeBegun("both", ()), Probed("both", (), ()))
    rows = tuple(Slice((port, *PIECE.address()), 0, 4) for port in (0, 1))
    assert next_instructions(state, 0.0) == (Gather("both", rows, True),)

    evolve(state, GatherBegun("both", rows, True))
    assert next_instructions(state, 0.0) == ()

    evolve(state, Gathered("both", 0, 4))
    assert next_instructions(state, 0.0) == (Probe("both", (Slice((0, 0), 0, 4),)),)


def test_a_cancelled_run_ends_when_its_last_batch_is_back() -> None:
    state = after(a_plan(work), *UNDER_WAY, StopRequested("cancelled"))
    assert next_instructions(state, 0.0) == ()

    evolve(state, BatchLost(0, "withdrawn", 1.0, (), (), (PIECE.cut(0, 2),)))
    assert next_instructions(state, 1.0) == (End("cancelled"),)


def test_nothing_is_asked_of_a_run_that_has_ended() -> None:
    state = after(a_plan(work), StopRequested("cancelled"), End("cancelled").event(1.0))

    assert next_instructions(state, 2.0) == ()
