"""From a graph and inputs to a run: name everything, store what travels, and start the driver."""

from __future__ import annotations

import secrets as random_secrets
import time
import warnings
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import Any

from blake3 import blake3

from tensorlake_nb.core.batches.batch import BARE, Call, Span
from tensorlake_nb.core.batches.messages import Message
from tensorlake_nb.core.fingerprint.fingerprint import FunctionPrint
from tensorlake_nb.core.functions.function import Function
from tensorlake_nb.core.graphs.builder import FrozenGraph
from tensorlake_nb.core.graphs.plan import Plan, plan_graph
from tensorlake_nb.core.keys import Digest, Fingerprint, RunId, TaskKey, confined, level
from tensorlake_nb.core.planning.blueprint import Blueprint, KeptPrint
from tensorlake_nb.core.planning.run_state import RunState
from tensorlake_nb.core.values.digest import inputs_digest
from tensorlake_nb.engine.calls.failure_text import short_repr
from tensorlake_nb.engine.cluster.resources import check
from tensorlake_nb.engine.cluster.session import Session
from tensorlake_nb.engine.desk.desk import Desk
from tensorlake_nb.engine.desk.failed_elements import Place
from tensorlake_nb.engine.driving.backend import Backend
from tensorlake_nb.engine.driving.dask_backend import DaskBackend
from tensorlake_nb.engine.driving.driver import Driver
from tensorlake_nb.engine.driving.recorder import Recorder
from tensorlake_nb.engine.driving.run_secrets import refuse_secrets, secret_values
from tensorlake_nb.engine.process.private_loop import spawn
from tensorlake_nb.engine.process.secrets import with_signing_keys
from tensorlake_nb.engine.travel.fingerprints import fingerprints, resolver_of
from tensorlake_nb.engine.travel.packing import pack
from tensorlake_nb.store.checkpoints.run_log import RunLog
from tensorlake_nb.store.checkpoints.store import Store
from tensorlake_nb.store.claims.meeting import Sharing
from tensorlake_nb.store.codecs.classes import ClassResolver
from tensorlake_nb.store.codecs.codec import encode
from tensorlake_nb.store.format.outcomes import Entry
from tensorlake_nb.store.owner import Owner, this_process

#: Where the inputs of runs are kept, beside the outputs of functions.
INPUTS_FINGERPRINT = Fingerprint(blake3(b"inputs/1").hexdigest())
#: The code of a function in a forecast, which computes nothing.
_NOT_STORED = ("", Digest(b""))
#: Functions of which it was said that later runs can't replay them, and why.
_warned: set[tuple[str, str]] = set()


def new_run_id() -> RunId:
    """``<UTC date>-<UTC time>-<microseconds and four random bits>``: ids sort by time, within a second too."""
    seconds, microseconds = divmod(time.time_ns() // 1000, 1_000_000)
    last = microseconds << 4 | random_secrets.randbits(4)
    return RunId(time.strftime("%Y%m%d-%H%M%S", time.gmtime(seconds)) + f"-{last:06x}")


def draw_up(
    graph: FrozenGraph,
    definition: Mapping[str, Any],
    inputs: Mapping[str, Any],
    session: Session,
    *,
    is_forecast: bool = False,
) -> tuple[Blueprint, ClassResolver]:
    """Everything that a run needs, stored where workers and later kernels find it.

    With ``is_forecast`` nothing is packed or stored, so nothing can be computed either.

    Raises
    ------
    UsageError
        A function or an input that has no digest, or can't travel; a secret that isn't in the environment.
    """
    store = session.store()
    run_id = new_run_id()
    names = tuple(sorted({name for node in graph.nodes.values() for name in node.function.options.secrets}))
    hidden = secret_values(graph.name, names)
    plan = plan_graph(graph)
    prints = fingerprints(graph, inputs)
    resolver = resolver_of(prints)
    given = dict(inputs)
    named = inputs_digest(given)
    codes = dict.fromkeys(graph.nodes, _NOT_STORED)
    inputs_span = Span("", 0, 1)
    if not is_forecast:
        codes = {name: _store_code(graph, prints, name, run_id, store, hidden) for name in graph.nodes}
        inputs_span = _store_inputs(store, run_id, given, named, resolver, hidden)
    parts = {
        name: KeptPrint(each.fingerprint, dict(each.parts), dict(each.sources), tuple(each.opaque), tuple(each.unkeyed))
        for name, each in prints.items()
    }
    _warn_once(parts)
    blueprint = Blueprint(
        run_id=run_id,
        graph=graph.name,
        definition=definition,
        plan=plan,
        calls=_calls(graph, plan, prints, run_id, codes),
        placements={name: graph.nodes[node.of].function.options.placement for name, node in plan.nodes.items()},
        prints=parts,
        inputs=inputs_span,
        inputs_digest=named,
        inputs_repr={name: short_repr(value) for name, value in given.items()},
        created_at=time.time(),
        owner=this_process(),
        secrets=names,
    )
    return blueprint, resolver


def _warn_once(parts: Mapping[str, KeptPrint]) -> None:
    """Warn of each function that later runs can't replay, once in the life of this process."""
    for name, part in parts.items():
        if part.note and (name, part.note) not in _warned:
            _warned.add((name, part.note))
            warnings.warn(f"function {name!r}: {part.note}", UserWarning, stacklevel=5)


def _store_code(
    graph: FrozenGraph,
    prints: Mapping[str, FunctionPrint],
    name: str,
    run_id: RunId,
    store: Store,
    hidden: Mapping[str, str],
) -> tuple[str, Digest]:
    """Pack a node's function and store it; return where it stands, and its digest."""
    code = pack(prints[name], graph.nodes[name].function)
    refuse_secrets(hidden, code, f"what function {name!r} reaches")
    digest = Digest(blake3(code).digest())
    # Functions that are made alike have one fingerprint, but each travels under its own name.
    path = f"runs/{run_id}/code/{digest.hex()}"
    store.put_bytes(path, code)
    return path, digest


def _calls(
    graph: FrozenGraph,
    plan: Plan,
    prints: Mapping[str, FunctionPrint],
    run_id: RunId,
    codes: Mapping[str, tuple[str, Digest]],
) -> dict[str, Call]:
    calls: dict[str, Call] = {}
    for name, node in graph.nodes.items():
        options = node.function.options
        own = Fingerprint(prints[name].fingerprint)
        if not options.cacheable or prints[name].unkeyed:
            own = confined(own, run_id, name)
        code_path, code_digest = codes[name]
        for part in plan.parts_of(name):
            under = own if options.combine is None else level(own, part.removeprefix(name))
            calls[part] = Call(
                node=part,
                kind=node.kind,
                fingerprint=under,
                code_path=code_path,
                code_digest=code_digest,
                routes=_routes(node.function, graph, name),
                by_place=not options.cacheable,
                timeout_s=options.timeout,
                max_concurrency=plan.nodes[part].concurrency,
                input_encoder=options.input_encoder,
                output_encoder=options.output_encoder,
                inject_ctx=options.inject_ctx,
                secrets=tuple(options.secrets),
            )
    return calls


def _routes(function: Function, graph: FrozenGraph, name: str) -> tuple[str, ...] | None:
    routed = tuple(edge.target for edge in graph.nodes[name].children if edge.routed)
    return routed if routed or function.is_router else None


def _store_inputs(
    store: Store,
    run_id: RunId,
    inputs: dict[str, Any],
    named: Digest,
    resolver: ClassResolver,
    hidden: Mapping[str, str],
) -> Span:
    key = TaskKey(blake3(run_id.encode()).digest())
    encoded = encode(inputs, digest=named, resolver=resolver)
    if isinstance(encoded.data, bytes):
        refuse_secrets(hidden, encoded.data, "the run's inputs")
    writer = store.writer(INPUTS_FINGERPRINT, f"{run_id}-inputs")
    writer.add(Entry(key, BARE, (encoded,)))
    writer.flush()
    (span,) = writer.locate(key).outputs.spans
    writer.close()
    return span


def make_desk_of(
    blueprint: Blueprint,
    store: Store,
    resolver: ClassResolver,
    session: Session,
    *,
    keeps: bool = True,
    sharing: Sharing | None = None,
    life: str = "",
    raised: dict[Place, bytes] | None = None,
) -> Desk:
    """Return a desk with empty tables; one that doesn't keep anything only looks."""
    return Desk(
        blueprint.plan,
        blueprint.calls,
        store,
        blueprint.run_id,
        blueprint.inputs,
        blueprint.inputs_digest,
        resolver,
        session.settings.checkpoint_interval,
        session.settings.store_patience,
        keeps=keeps,
        sharing=sharing,
        life=life,
        raised=raised,
    )


def drive(
    session: Session,
    blueprint: Blueprint,
    state: RunState,
    resolver: ClassResolver,
    *,
    resumed: bool,
    owner: Owner | None = None,
) -> tuple[Driver, Future[None]]:
    """Start a run's driver on the private loop.

    Parameters
    ----------
    owner
        The recorded driver, if not this process; it has given the workers their secrets.
    """
    store = session.store()
    values: dict[str, str] = {}
    if owner is None:
        values = with_signing_keys(secret_values(blueprint.graph, blueprint.secrets), store.signing_keys)
    # What is computed anew on purpose is this run's own affair.
    shared = {call.fingerprint for call in blueprint.calls.values() if not call.fresh}
    sharing = Sharing(store, blueprint.run_id, shared, this_process(), resumed=resumed)
    life = f"-{random_secrets.token_hex(3)}" if resumed else ""

    raised: dict[Place, bytes] = {}

    def make_desk() -> Desk:
        return make_desk_of(blueprint, store, resolver, session, sharing=sharing, life=life, raised=raised)

    def make_backend(post: Callable[[Message], None]) -> Backend:
        return DaskBackend(session.connection, blueprint.run_id, values, post)

    recorder = Recorder(RunLog(store, blueprint.run_id))
    driver = Driver(
        state,
        blueprint.run_id,
        make_desk,
        make_backend,
        recorder,
        blueprint.placements,
        resumed=resumed,
        owner=owner or this_process(),
        store_patience_s=session.settings.store_patience,
        sharing=sharing,
        raised=raised,
    )
    return driver, spawn(driver.drive())


def check_placement(session: Session, blueprint: Blueprint) -> None:
    """Refuse nodes that no worker can run; the embedded cluster declares nothing and takes all."""
    if session.settings.cluster != "embedded":
        check(blueprint.placements, session.connection().resources())
