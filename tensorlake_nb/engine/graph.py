"""The public `Graph`: what `GraphBuilder` builds, with the means to run it."""

from __future__ import annotations

from typing import Any

from tensorlake_nb.core.binding import check_inputs
from tensorlake_nb.core.function import Function
from tensorlake_nb.core.graph import GraphBuilder
from tensorlake_nb.engine import session as sessions
from tensorlake_nb.engine.launch import check_placement, draw_up
from tensorlake_nb.engine.run import Run


class Graph(GraphBuilder):
    """Functions wired into a workflow.

    See `GraphBuilder` for how it is wired: ``add_node``, ``add_edge``, ``add_edges``, ``route``, ``validate``.
    """

    def run(self, *, block_until_done: bool = True, **inputs: Any) -> Run:
        """Run the graph and wait for its end.

        Parameters
        ----------
        block_until_done
            ``False`` is the same as `start`.
        **inputs
            Arguments of the start function, by name.

        Raises
        ------
        UsageError
            The graph, its functions or the inputs aren't right; nothing was begun.
        RunError
            A call failed (after its retries), or the run was cancelled; ``.run`` is the `Run`.
        """
        run = self.start(**inputs)
        if block_until_done:
            run.wait()
        return run

    def start(self, **inputs: Any) -> Run:
        """Start a run and return at once; waiting for it raises what `run` would raise."""
        frozen = self.freeze()
        given = check_inputs(frozen.nodes[frozen.start].function, inputs, graph=self.name)
        session = sessions.current()
        session.check()
        session.store().recover()
        blueprint, resolver = draw_up(frozen, self.definition(), given, session)
        check_placement(session, blueprint)
        return Run._begin(session, blueprint, resolver)

    def output(self, run: Run | str, function: Function | str) -> list[Any]:
        """The outputs of a function in one run."""
        opened = run if isinstance(run, Run) else Run.open(run)
        return opened.output(function)
