"""Everything that a run is made of, as plain data: what a new kernel needs to open it, and to go on with it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import TypeAdapter

from tensorlake_nb.core.batches.batch import Call, Span
from tensorlake_nb.core.functions.policy import Placement
from tensorlake_nb.core.graphs.plan import Plan
from tensorlake_nb.core.keys import Digest, RunId
from tensorlake_nb.errors import CorruptCheckpointError

_PLAN: TypeAdapter[Plan] = TypeAdapter(Plan)
_CALL: TypeAdapter[Call] = TypeAdapter(Call)
_PLACEMENT: TypeAdapter[Placement] = TypeAdapter(Placement)


@dataclass(frozen=True, slots=True)
class KeptPrint:
    """The fingerprint of a function in this run, kept so that a later run can say what changed.

    See `tensorlake_nb.core.fingerprint.fingerprint.FunctionPrint` for the fields.
    """

    fingerprint: str
    parts: Mapping[str, str]
    sources: Mapping[str, str]
    opaque: tuple[str, ...] = ()
    unkeyed: tuple[str, ...] = ()

    @property
    def note(self) -> str:
        """Why later runs don't replay the function, where something that it is sent with has no digest, else empty."""
        if not self.unkeyed:
            return ""
        more = f" (and {len(self.unkeyed) - 1} more)" if len(self.unkeyed) > 1 else ""
        return (
            f"{self.unkeyed[0]}{more}, so what this function gives is kept for one run only. Make it inside the "
            "function from plain values, take those as parameters, or give the function a version="
        )


@dataclass(frozen=True, slots=True)
class Blueprint:
    """A run before anything has happened.

    Attributes
    ----------
    definition
        The graph as `Graph.definition` gives it.
    calls, placements
        Per node of the plan how a worker calls it, and where it may run.
    prints
        Per node of the graph what named its outputs.
    inputs, inputs_digest, inputs_repr
        Where the run's inputs lie, what they are, and a short form of each for people.
    created_at
        Seconds since the epoch.
    owner
        Host, process id and start time of the process that drives it.
    secrets
        Names only.
    """

    run_id: RunId
    graph: str
    definition: Mapping[str, Any]
    plan: Plan
    calls: Mapping[str, Call]
    placements: Mapping[str, Placement]
    prints: Mapping[str, KeptPrint]
    inputs: Span
    inputs_digest: Digest
    inputs_repr: Mapping[str, str]
    created_at: float
    owner: Mapping[str, Any]
    secrets: tuple[str, ...] = ()
    notes: tuple[str, ...] = field(default=())

    def to_json(self) -> dict[str, Any]:
        """Return the blueprint as plain JSON data."""
        calls = {name: dataclasses.asdict(call) for name, call in self.calls.items()}
        for call in calls.values():
            call["code_digest"] = call["code_digest"].hex()
        return {
            "run_id": self.run_id,
            "graph": self.graph,
            "definition": dict(self.definition),
            "plan": _PLAN.dump_python(self.plan, mode="json"),
            "calls": calls,
            "placements": {name: _PLACEMENT.dump_python(p, mode="json") for name, p in self.placements.items()},
            "prints": {name: dataclasses.asdict(part) for name, part in self.prints.items()},
            "inputs": [self.inputs.segment, self.inputs.start, self.inputs.stop],
            "inputs_digest": self.inputs_digest.hex(),
            "inputs_repr": dict(self.inputs_repr),
            "created_at": self.created_at,
            "owner": dict(self.owner),
            "secrets": list(self.secrets),
            "notes": list(self.notes),
        }


def from_json(plain: Mapping[str, Any]) -> Blueprint:
    """Return the blueprint written by `Blueprint.to_json`; raise `CorruptCheckpointError` for anything else."""
    try:
        return _from_json(plain)
    except Exception as error:  # whatever senseless data makes of this
        raise CorruptCheckpointError(f"a run's header doesn't hold what it should: {error!r:.300}") from error


def _from_json(plain: Mapping[str, Any]) -> Blueprint:
    calls = {
        name: _CALL.validate_python({**call, "code_digest": bytes.fromhex(call["code_digest"])})
        for name, call in plain["calls"].items()
    }
    segment, start, stop = plain["inputs"]
    return Blueprint(
        run_id=RunId(plain["run_id"]),
        graph=plain["graph"],
        definition=plain["definition"],
        plan=_PLAN.validate_python(plain["plan"]),
        calls=calls,
        placements={name: _PLACEMENT.validate_python(p) for name, p in plain["placements"].items()},
        prints={
            name: KeptPrint(
                part["fingerprint"],
                part["parts"],
                part["sources"],
                tuple(part["opaque"]),
                tuple(part.get("unkeyed", ())),
            )
            for name, part in plain["prints"].items()
        },
        inputs=Span(segment, start, stop),
        inputs_digest=Digest(bytes.fromhex(plain["inputs_digest"])),
        inputs_repr=plain["inputs_repr"],
        created_at=plain["created_at"],
        owner=plain["owner"],
        secrets=tuple(plain["secrets"]),
        notes=tuple(plain["notes"]),
    )
