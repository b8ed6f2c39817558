"""`Run`: one execution of a graph, under way, ended, or found in the store."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import wait
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NoReturn, Protocol, TypeAlias, TypeVar, overload

from tensorlake_nb.core.batches.batch import Span
from tensorlake_nb.core.functions.element_types import Gives
from tensorlake_nb.core.functions.function import NodeLike, TensorlakeCompute
from tensorlake_nb.core.identifiers import missing_attribute
from tensorlake_nb.core.planning.blueprint import Blueprint, from_json
from tensorlake_nb.engine.calls.failure_text import rebuilt
from tensorlake_nb.engine.calls.nested_runs import refuse_inside_calls
from tensorlake_nb.engine.cluster import session as sessions
from tensorlake_nb.engine.cluster.session import Session
from tensorlake_nb.engine.desk.desk import Desk
from tensorlake_nb.engine.driving.forecast import followed
from tensorlake_nb.engine.driving.launch import drive, make_desk_of, new_run_id
from tensorlake_nb.engine.driving.run_secrets import secret_values
from tensorlake_nb.engine.reports.counts import FailedElement
from tensorlake_nb.engine.runs import detached
from tensorlake_nb.engine.runs.inputs_seen import Arrivals, arrivals
from tensorlake_nb.engine.runs.outputs import Outputs
from tensorlake_nb.engine.runs.raised_errors import requested, task_failed
from tensorlake_nb.engine.runs.recompute import copied, following, renewed
from tensorlake_nb.engine.runs.recorded_run import RecordedRun
from tensorlake_nb.engine.runs.reread import Healing
from tensorlake_nb.engine.runs.waiting import Waiting
from tensorlake_nb.engine.travel.fingerprints import stored_resolver
from tensorlake_nb.errors import (
    CheckpointNotFoundError,
    CorruptCheckpointError,
    InternalError,
    RunCancelledError,
    RunError,
    RunNotFoundError,
    TaskFailedError,
    UntrustedCheckpointError,
    UsageError,
)
from tensorlake_nb.store.checkpoints.run_log import RunLog, run_ids
from tensorlake_nb.store.codecs.classes import ClassResolver
from tensorlake_nb.store.codecs.codec import HOW_TO_TRUST
from tensorlake_nb.store.owner import Owner

T = TypeVar("T")
#: `Run.list` hides the builtin inside the class.
Values: TypeAlias = list[T]

#: Entered around every blocking wait: how faces show progress while a cell waits.
waiters: list[Callable[[Run], AbstractContextManager[None]]] = []

#: Called with each run that is begun or gone on with, once it is driven: how faces show it.
started: list[Callable[[Run], None]] = []


class Startable(Protocol):
    """A graph that can begin a run in which some functions are computed anew; see `Graph.start_fresh`."""

    def start_fresh(self, fresh: frozenset[str], inputs: Mapping[str, Any]) -> Run:
        """Begin it."""


class Run(RecordedRun):
    """One run of a graph. Made by `Graph.run`, `Graph.start` and `Run.open`."""

    def __init__(self, session: Session, blueprint: Blueprint, resolver: ClassResolver) -> None:
        super().__init__(session, blueprint, resolver)
        self._waiting = Waiting(self.id, self.graph)
        self._is_vouched = True  # else another user may have written it, and the code that it names isn't loaded

    @classmethod
    def _begin(cls, session: Session, blueprint: Blueprint, resolver: ClassResolver) -> Run:
        run = cls(session, blueprint, resolver)
        run._log.create(blueprint.to_json())
        run._drive(resumed=False)
        return run

    @classmethod
    def _detach(cls, session: Session, blueprint: Blueprint, resolver: ClassResolver) -> Run:
        connection = session.connection()
        blueprint = replace(blueprint, owner=detached.owner(connection))
        secrets = secret_values(blueprint.graph, blueprint.secrets)
        run = cls(session, blueprint, resolver)
        run._log.create(blueprint.to_json())
        detached.detach(session, run.id, secrets)
        return run

    def drive_detached(self) -> None:
        """Drive a run that another process has recorded, from its begin or from where its last driver left it."""
        resumed = self._state.started_at > 0
        if resumed:  # what its last driver had computed is to be found
            self._store.recover()
        self._drive(resumed=resumed, owner=self._blueprint.owner)

    def _drive(self, *, resumed: bool, owner: Owner | None = None) -> None:
        self._require_vouched()
        self._driver, self._done = drive(
            self._session, self._blueprint, self._state, self._resolver, resumed=resumed, owner=owner
        )
        for show in started:
            show(self)

    @classmethod
    def open(cls, run_id: str, session: Session | None = None) -> Run:
        """Open a run from the store, whatever kernel it ran in; the end of its id is enough if it is the only one.

        Parameters
        ----------
        session
            The session to look in, by default this process's own.

        Raises
        ------
        RunNotFoundError
            The store holds no such run, or several.
        """
        session = session or sessions.current()
        store = session.store()
        found = [known for known in run_ids(store) if known.endswith(run_id)]
        if len(found) != 1:
            what = "several runs end" if found else "no run ends"
            raise RunNotFoundError(
                f"{what} with {run_id!r} in {store.url}. Run.list() shows the runs of this store; for one of another "
                "store, first run the cell that chooses it: configure(store=...) or %tensorlake store"
            )
        header, is_vouched = RunLog(store, found[0]).read_header()
        blueprint = from_json(header)
        run = cls(session, blueprint, stored_resolver(store, blueprint.calls.values(), vouched=is_vouched))
        run._is_vouched = is_vouched
        run._refresh()
        return run

    @classmethod
    def list(cls, graph: str | None = None, limit: int = 50) -> Sequence[Run]:
        """List the store's runs, newest first; with ``graph`` only those of that graph.

        Runs whose record is damaged are left out.
        """
        runs: list[Run] = []
        for run_id in run_ids(sessions.current().store()):
            try:
                run = cls.open(run_id)
            except (CorruptCheckpointError, CheckpointNotFoundError, RunNotFoundError):
                continue
            if graph is None or run.graph == graph:
                runs.append(run)
            if len(runs) == limit:
                break
        return runs

    def wait_quietly(self, timeout: float) -> bool:
        """Wait some seconds; whether it has ended. Nothing is raised, shown or cancelled: for those who watch."""
        if self._done is not None:
            finished, _ = wait((self._done,), timeout)
            return bool(finished)
        time.sleep(timeout)
        return self.status != "running"

    def wait(self, timeout: float | None = None) -> Run:
        """Wait for the end. An interrupt (Stop) cancels the run, keeps finished outputs, and is raised again.

        Parameters
        ----------
        timeout
            Seconds after which `TimeoutError` is raised; the run continues.

        Raises
        ------
        RunError
            The run failed or was cancelled; ``.run`` is this run. With ``on_error="continue"`` failed calls
            don't raise: see `failures`.
        """
        self._check_wait()
        with self._shown():
            if self._done is None:
                self._waiting.follow(self._is_running, timeout)
            else:
                self._waiting.until(self._done, self.cancel, timeout)
        self._raise()
        return self

    def __await__(self) -> Generator[Any, None, Run]:
        """Wait as `wait` does, and let the event loop go on."""
        return self._awaited().__await__()

    async def _awaited(self) -> Run:
        self._check_wait()
        with self._shown():
            if self._done is None:
                await asyncio.to_thread(self._waiting.follow, self._is_running, None)
            else:
                await self._waiting.until_async(self._done, self.cancel)
        self._raise()
        return self

    def _check_wait(self) -> None:
        if not self.has_ended:
            refuse_inside_calls("wait for a run")

    @contextmanager
    def _shown(self) -> Iterator[None]:
        """Faces show progress meanwhile."""
        with ExitStack() as faces:
            for waiter in waiters:
                faces.enter_context(waiter(self))
            yield

    def _is_running(self) -> bool:
        return self.status == "running"

    def _raise(self) -> None:
        error = self._failure()
        if error is not None:
            raise error

    def _failure(self) -> BaseException | None:
        error: RunError
        if self._driver is not None and self._driver.exception is not None:
            failed = self._driver.exception
            if isinstance(failed, RunError):
                failed.run = self
            return failed
        status = self.status
        failures = self.failures
        request = requested(failures)
        if request is not None:
            error = request
        elif status == "failed" and failures and self._blueprint.plan.stops_on_failure:
            error = self._failed(failures[0])
        elif status == "failed" and not failures:
            return InternalError(self._state.error or "the run failed without recording a reason")
        elif status in ("cancelled", "interrupted"):
            error = RunCancelledError(f"run {self.id} of {self.graph!r} was {status}; resume() continues it")
        else:
            return None
        error.run = self
        return error

    def _failed(self, failure: FailedElement, lacking: str = "") -> TaskFailedError:
        raised = self._driver.raised.get((failure.node, failure.index)) if self._driver is not None else None
        error = task_failed(failure, None if raised is None else rebuilt(raised, self._resolver), lacking)
        error.run = self
        return error

    def _refuse_lack(self, name: str) -> None:
        """Raise the failure because of which a function that has ended has no outputs, if there is one."""
        if self._state.status is None or self._on_loop(lambda: self._state.nodes[name].sealed):
            return
        above = self._blueprint.plan.above(name)
        cause = next((failure for failure in self.failures if failure.node in above), None)
        if cause is not None:
            raise self._failed(cause, lacking=name)

    def cancel(self, *, force: bool = False) -> None:
        """Ask the run to stop. Finished outputs are kept; running calls are interrupted, then their workers ended.

        Parameters
        ----------
        force
            End the workers of running calls at once.

        Raises
        ------
        UsageError
            Another kernel drives it.
        """
        if self._driver is None:
            if self.status == "running":
                if detached.is_owner(self._owner()):
                    self._log.ask("force" if force else "cancel")
                    return
                raise UsageError(f"run {self.id} is driven {detached.in_words(self._owner())}. Cancel it there.")
            return
        self._driver.cancel(force=force)

    def again(
        self, function: NodeLike, *, only: bool = False, graph: Startable | None = None, wait: bool = True
    ) -> Run:
        """Compute a function and all that follows it anew: a new run with the same inputs.

        Its outputs replace the stored ones, so later runs replay the new ones. Functions before it are replayed.

        Parameters
        ----------
        only
            Compute just this function anew, and its followers only where its outputs differ.
        graph
            The graph whose functions to use; by default those of this run, as they were.
        wait
            ``False`` returns at once.
        """
        refuse_inside_calls("run a graph")
        name = self._name(function)
        fresh = frozenset((name,)) if only else following(self._blueprint.plan, name)
        if graph is not None:
            run = graph.start_fresh(fresh, self.inputs)
        else:
            self._require_vouched()
            self._session.check()
            self._store.recover()
            run = Run._begin(self._session, renewed(copied(self._blueprint, new_run_id()), fresh), self._resolver)
        return run.wait() if wait else run

    def resume(self, *, wait: bool = True) -> Run:
        """Resume a run that was cancelled, interrupted or failed: compute only the missing outputs.

        It uses the functions and the inputs that the run began with, so a new kernel need not define them.

        Parameters
        ----------
        wait
            ``False`` returns at once.
        """
        refuse_inside_calls("run a graph")
        if self.status == "running":
            if self._driver is None:
                raise UsageError(f"run {self.id} is driven {detached.in_words(self._owner())}.")
        else:
            self._session.check()
            self._store.recover()
            self._refresh()
            self._drive(resumed=True)
        return self.wait() if wait else self

    if not TYPE_CHECKING:  # there, whatever is misspelt is to be found

        def __getattr__(self, name: str) -> NoReturn:
            raise missing_attribute(self, name)

    # -- what it was given --

    @property
    def inputs(self) -> dict[str, Any]:
        """Its inputs by name, read from the store."""
        (inputs,) = self._read((self._blueprint.inputs,))
        return dict(inputs)

    def inputs_of(self, function: NodeLike) -> Arrivals:
        """Return the inputs of a function so far, one per element, as a lazy sequence.

        An element of a join is a dict by parameter, one of the start function the run's inputs by name.
        """
        name = self._name(function)

        def make_desk() -> Desk:
            return make_desk_of(self._blueprint, self._store, self._resolver, self._session, keeps=False)

        streams = followed(self._blueprint.plan, make_desk, lambda state, desk: desk.streams)
        return arrivals(streams, name, self._read)

    # -- what it gave --

    @overload
    def output(self, function: Gives[T]) -> Values[T]: ...
    @overload
    def output(self, function: type[TensorlakeCompute] | str) -> Values[Any]: ...
    def output(self, function: Any) -> Any:
        """Return the outputs of a function, in stream order; of a reducer, the one that it emitted.

        Raises
        ------
        RequestException
            A function ended the run with it.
        TaskFailedError
            A failure left no outputs; `outputs` gives those that there are, possibly none.
        """
        request = requested(self.failures)
        if request is not None:
            request.run = self
            raise request
        outputs = [*self.outputs(function)]
        if not outputs:
            self._refuse_lack(self._name(function))
        return outputs

    @overload
    def outputs(self, function: Gives[T]) -> Outputs[T]: ...
    @overload
    def outputs(self, function: type[TensorlakeCompute] | str) -> Outputs[Any]: ...
    def outputs(self, function: Any) -> Outputs[Any]:
        """Return the outputs of a function so far, as a lazy sequence."""
        name = self._name(function)
        spans = self._on_loop(lambda: [span for chunk in self._state.nodes[name].chunks for span in chunk.spans])
        healing = Healing(name, self._read, lambda: self.outputs(name), lambda: not self._is_running(), self.resume)
        return Outputs(name, spans, healing.values, self._store.open_array, self._store.open_zarr)

    def result(self) -> Any:
        """Wait for the end, then return the outputs of the last functions.

        Returns
        -------
        result
            For one last function its outputs as a list, or the value itself where nothing on the way was mapped
            (or it is a reducer); for several a dict of those by name.

        Raises
        ------
        TaskFailedError
            Also with ``on_error="continue"``, if one of these functions has no output because of a failure.
        """
        self.wait()
        leaves = [name for name, node in self._blueprint.plan.nodes.items() if not node.children]
        results = {name: self._result_of(name) for name in leaves}
        return results[leaves[0]] if len(leaves) == 1 else results

    def _result_of(self, name: str) -> Any:
        outputs = self.output(name)
        if self._is_single(name):
            return outputs[0] if outputs else None
        return outputs

    def _is_single(self, name: str) -> bool:
        node = self._state.nodes[name]
        if node.plan.kind == "fold":
            return True
        chunks = [*node.chunks]
        if len(chunks) > 1 or not all(chunk.is_bare for chunk in chunks):
            return False
        return len(node.plan.ports) <= 1 and all(self._is_single(port.parent) for port in node.plan.ports)

    def _read(self, spans: Sequence[Span]) -> Values[Any]:
        return self._store.read(spans, self._resolver)

    def _require_vouched(self) -> None:
        if not self._is_vouched:
            raise UntrustedCheckpointError(
                f"run {self.id} can't be resumed here: its functions are pickles (code) in {self._store.url}, "
                f"and its record isn't signed with your key. {HOW_TO_TRUST} Or run the graph itself: outputs "
                "stored as plain data are replayed."
            )
