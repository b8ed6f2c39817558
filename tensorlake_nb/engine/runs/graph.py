"""The public `Graph`: what `GraphBuilder` builds, with the means to run it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar, overload

from dask.task_spec import Task

from tensorlake_nb.core.functions.binding import Binder, check_inputs, conformed
from tensorlake_nb.core.functions.element_types import Gives
from tensorlake_nb.core.functions.function import TensorlakeCompute
from tensorlake_nb.core.graphs.builder import GraphBuilder
from tensorlake_nb.core.graphs.plan import plan_graph
from tensorlake_nb.core.identifiers import listed, missing_attribute
from tensorlake_nb.core.planning.blueprint import Blueprint
from tensorlake_nb.engine.calls.failure_text import short_repr
from tensorlake_nb.engine.calls.nested_runs import refuse_inside_calls
from tensorlake_nb.engine.cluster import session as sessions
from tensorlake_nb.engine.cluster.session import Session
from tensorlake_nb.engine.desk.desk import Desk
from tensorlake_nb.engine.driving.forecast import Forecast, forecast
from tensorlake_nb.engine.driving.launch import check_placement, draw_up, make_desk_of
from tensorlake_nb.engine.runs.dask_graph import NodeKey, static_graph
from tensorlake_nb.engine.runs.recompute import renewed
from tensorlake_nb.engine.runs.run import Run
from tensorlake_nb.engine.travel.fingerprints import fingerprints
from tensorlake_nb.engine.verifying.verification import Verification, verify
from tensorlake_nb.errors import StoreError, UsageError
from tensorlake_nb.store.codecs.classes import ClassResolver

T = TypeVar("T")
#: Called with a graph before it is run or planned: how a notebook hands in functions redefined in the same cell.
before_use: list[Callable[[GraphBuilder], None]] = []
#: How many earlier runs are asked how long a function takes.
_LOOK_BACK = 10


class Graph(GraphBuilder):
    """Functions wired into a workflow.

    See `GraphBuilder` for how it is wired: ``add_node``, ``add_edge``, ``add_edges``, ``route``, ``validate``.
    """

    def run(self, /, *given: Mapping[str, Any], block_until_done: bool = True, **inputs: Any) -> Run:
        """Run the graph and wait for its end.

        Parameters
        ----------
        *given
            The inputs as a mapping, for names that an option here has too (``block_until_done``).
        block_until_done
            ``False`` is the same as `start`.
        **inputs
            Arguments of the start function, by name.

        Raises
        ------
        UsageError
            The graph, its functions or the inputs are wrong; nothing has started.
        RunError
            A call failed (after its retries), or the run was cancelled; ``.run`` is the `Run`.
        """
        run = self._begin(frozenset(), self._together("run", given, inputs))
        if block_until_done:
            run.wait()
        return run

    def start(self, /, *given: Mapping[str, Any], detach: bool = False, **inputs: Any) -> Run:
        """Start a run and return at once; waiting for it raises what `run` would raise.

        Parameters
        ----------
        *given
            The inputs as a mapping, as for `run`.
        detach
            Let the cluster drive it, so that it continues when this kernel ends: `Run.open` finds it again by its id,
            from any kernel, to watch it, to wait for it or to cancel it. Not on the embedded cluster, which ends
            with the kernel.
        **inputs
            Arguments of the start function, by name.

        Raises
        ------
        UsageError
            The graph, its functions or the inputs are wrong; nothing has started.
        ClusterError
            The cluster ends with this kernel.
        """
        return self._begin(frozenset(), self._together("start", given, inputs), detach=detach)

    def start_fresh(self, fresh: frozenset[str], inputs: Mapping[str, Any]) -> Run:
        """Start a run that computes some functions, by name, anew, even if the store has their outputs.

        Their outputs replace the stored ones: later runs replay the new ones. See `Run.again`.
        """
        return self._begin(fresh, inputs)

    def _begin(self, fresh: frozenset[str], inputs: Mapping[str, Any], *, detach: bool = False) -> Run:
        refuse_inside_calls("run a graph")
        session = sessions.current()
        session.check(detach=detach)
        session.store().recover()
        blueprint, resolver = self._draw_up(session, inputs)
        check_placement(session, blueprint)
        begin = Run._detach if detach else Run._begin
        return begin(session, renewed(blueprint, fresh) if fresh else blueprint, resolver)

    def wrong_inputs(self, inputs: Mapping[str, Any]) -> dict[str, str]:
        """Return the problems with a run's inputs, by name; empty if a run would take them.

        Raises
        ------
        GraphError
            The graph itself can't run.
        """
        for update in before_use:
            update(self)
        frozen = self.freeze()
        return conformed(frozen.nodes[frozen.start].function, inputs)[1]

    def changed_since(self, run: Run | None = None) -> dict[str, str]:
        """Return the functions that a new run would compute again because code changed, with a reason each.

        Parameters
        ----------
        run
            The run to compare with; by default the store's newest of this graph. Without one nothing is stale.
        """
        if run is None:
            found = Run.list(self.name, limit=1)
            if not found:
                return {}
            run = found[0]
        frozen = self.freeze()
        try:
            inputs = run.inputs  # the classes of what is given count as code
        except StoreError:
            inputs = {}
        return run.outdated(fingerprints(frozen, inputs), plan_graph(frozen))

    def plan(self, /, *given: Mapping[str, Any], **inputs: Any) -> Forecast:
        """Forecast what a run with these inputs would replay and compute, and its time; compute nothing."""
        inputs = self._together("plan", given, inputs)
        session = sessions.current()
        session.store().recover()
        blueprint, resolver = self._draw_up(session, inputs, is_forecast=True)
        means_s: dict[str, float] = {}
        for before in Run.list(self.name, limit=_LOOK_BACK):  # newest first; one that replayed measured nothing
            means_s = {**before.means_s, **means_s}
            if means_s.keys() >= blueprint.plan.nodes.keys():
                break

        def make_desk() -> Desk:
            return make_desk_of(blueprint, session.store(), resolver, session, keeps=False)

        notes = {name: part.note for name, part in blueprint.prints.items()}
        return forecast(blueprint.plan, make_desk, means_s, notes)

    def verify(
        self,
        /,
        *given: Mapping[str, Any] | None,
        sample: float = 0.01,
        seed: int = 0,
        time_limit: float = 300.0,
        **inputs: Any,
    ) -> Verification:
        """Compute a sample of a run's stored outputs again, and name the functions whose outputs differ.

        Seed such functions, or mark them ``cacheable=False``. The store stays as it is. The calls are real: their
        effects outside (requests, files) happen again.

        Parameters
        ----------
        *given, **inputs
            The run's inputs, by name; by default those of the store's newest run of this graph. An input named like
            one of the options below goes into the mapping.
        sample
            The share of each function's replayed elements, at least one; of a reducer that share of its steps, from one
            kept accumulator to the next.
        seed
            Chooses the sample.
        time_limit
            Seconds after which the rest is skipped, and running calls are interrupted.

        Raises
        ------
        UsageError
            As for `run`; or an option has a wrong value.
        """
        refuse_inside_calls("verify a graph")
        inputs = self._together("verify", [each for each in given if each is not None], inputs)
        session = sessions.current()
        session.check()
        session.store().recover()
        for update in before_use:
            update(self)
        frozen = self.freeze()
        if not inputs:
            inputs = next((dict(run.inputs) for run in Run.list(self.name, limit=1)), {})
        inputs = check_inputs(frozen.nodes[frozen.start].function, inputs, graph=self.name)
        return verify(frozen, self.definition(), inputs, session, sample=sample, seed=seed, time_limit_s=time_limit)

    def to_dask(self, /, *given: Mapping[str, Any], **inputs: Any) -> dict[NodeKey, Task]:
        """Return the graph as a static Dask graph: a task per node, keyed ``(node, run id)``, on those that feed it.

        Any Dask scheduler computes it, from the same store and into it; see `tensorlake_nb.engine.runs.dask_graph`.
        """
        inputs = self._together("to_dask", given, inputs)
        session = sessions.current()
        blueprint, _ = self._draw_up(session, inputs)
        return static_graph(blueprint, session.store().url, session.store().trusted)

    @overload
    def output(self, run: Run | str, function: Gives[T]) -> list[T]: ...
    @overload
    def output(self, run: Run | str, function: type[TensorlakeCompute] | str) -> list[Any]: ...
    def output(self, run: Run | str, function: Any) -> Any:
        """Return the outputs of a function in one run."""
        opened = run if isinstance(run, Run) else Run.open(run)
        return opened.output(function)

    def _together(self, method: str, given: Sequence[Any], named: Mapping[str, Any]) -> dict[str, Any]:
        """Merge a run's inputs, given as keywords and perhaps as a mapping.

        Raises
        ------
        UsageError
            Something else was given by position, or an input twice.
        """
        for each in given:
            if len(given) > 1 or not isinstance(each, Mapping):
                values = [name for name in self._wanted() if name not in named]
                meant = ", ".join(
                    f"{name}={short_repr(value)}" for name, value in zip(values or ["name"], given, strict=False)
                )
                raise UsageError(
                    f"graph {self.name!r} takes its inputs by name: write {method}({meant}), or one mapping of them"
                )
        (mapping,) = given or ({},)
        twice = sorted(mapping.keys() & named.keys())
        if twice:
            raise UsageError(f"graph {self.name!r}: {listed(twice)} stands in the mapping and beside it. Give it once.")
        return {**mapping, **named}

    def _wanted(self) -> list[str]:
        """Return the names of a run's inputs."""
        return list(Binder(self.nodes[self.start_node]).value_parameters)

    def __call__(self, /, *given: Any, **inputs: Any) -> NoReturn:
        """Refuse to be called.

        Raises
        ------
        UsageError
            Says what to write instead.
        """
        names = ", ".join(f"{name}=..." for name in inputs or self._wanted())
        raise UsageError(f"graph {self.name!r} can't be called: use its run({names}) or start({names})")

    if not TYPE_CHECKING:  # there, whatever is misspelt is to be found

        def __getattr__(self, name: str) -> NoReturn:
            raise missing_attribute(self, name)

    def _draw_up(
        self, session: Session, inputs: Mapping[str, Any], *, is_forecast: bool = False
    ) -> tuple[Blueprint, ClassResolver]:
        for update in before_use:
            update(self)
        frozen = self.freeze()
        given = check_inputs(frozen.nodes[frozen.start].function, dict(inputs), graph=self.name)
        return draw_up(frozen, self.definition(), given, session, is_forecast=is_forecast)
