"""A graph's inputs as a JSON schema, from its start function's signature: types, defaults, constraints, docs."""

from __future__ import annotations

import inspect
import json
import re
from typing import Any

from pydantic import PydanticUserError, TypeAdapter, create_model
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined, to_jsonable_python

from tensorlake_nb.core.functions.annotations import EMPTY, is_known, parameter_hints
from tensorlake_nb.core.functions.function import Function
from tensorlake_nb.engine.runs.graph import Graph
from tensorlake_nb.notebook.panel.messages import InputForm

#: A default that is longer as JSON isn't put into a form.
_LONGEST_DEFAULT = 5_000


def form_of(graph: Graph) -> InputForm:
    """Return the form of a graph's inputs. A parameter whose type has no schema takes JSON."""
    function = graph.nodes[graph.start_node]
    return InputForm(json_schema=schema_of(function), values={})


def schema_of(function: Function) -> dict[str, Any]:
    """Return the JSON schema of a start function's inputs."""
    hints = parameter_hints(function)
    docs = described_parameters(inspect.getdoc(function.call) or "")
    fields: dict[str, Any] = {}
    for parameter in list(function.signature.parameters.values())[function.first_value :]:
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        default = PydanticUndefined if parameter.default is EMPTY else parameter.default
        info = FieldInfo(default=default, description=docs.get(parameter.name))
        if default is not PydanticUndefined and not _fits_json(default):
            info = FieldInfo(default=None, description=docs.get(parameter.name))
        fields[parameter.name] = (_with_schema(hints.get(parameter.name, EMPTY)), info)
    try:
        schema: dict[str, Any] = create_model("Inputs", **fields).model_json_schema()
        return schema
    except (PydanticUserError, NameError, TypeError, ValueError):  # names that pydantic keeps for itself
        properties = {name: {"description": info.description or ""} for name, (_, info) in fields.items()}
        required = [name for name, (_, info) in fields.items() if info.is_required()]
        return {"type": "object", "properties": properties, "required": required}


def _with_schema(hint: Any) -> Any:
    """Return the annotation if it has a JSON schema, else ``Any``."""
    if hint is EMPTY or not is_known(hint):
        return Any
    try:
        TypeAdapter(hint).json_schema()
    except Exception:  # whatever a user's type raises, it has no schema
        return Any
    return hint


def _fits_json(value: Any) -> bool:
    try:
        return len(json.dumps(to_jsonable_python(value))) <= _LONGEST_DEFAULT
    except Exception:
        return False


_NUMPYDOC = re.compile(r"^(?P<name>\w+)\s*(?::.*)?$")
_GOOGLE = re.compile(r"^\s+(?P<name>\w+)\s*(?:\([^)]*\))?:\s*(?P<text>.+)$")


def described_parameters(doc: str) -> dict[str, str]:
    """Return the descriptions of parameters in a docstring, in numpydoc's or Google's style."""
    found: dict[str, str] = {}
    lines = doc.splitlines()
    for start, line in enumerate(lines):
        if line.strip() == "Parameters" and start + 1 < len(lines) and set(lines[start + 1].strip()) == {"-"}:
            found.update(_numpydoc(lines[start + 2 :]))
        elif line.strip() in ("Args:", "Arguments:"):
            found.update(_google(lines[start + 1 :]))
    return found


def _numpydoc(lines: list[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    name = ""
    for i, line in enumerate(lines):
        if i + 1 < len(lines) and line.strip() and set(lines[i + 1].strip()) == {"-"}:
            break  # the next section
        if line and not line[0].isspace():
            matched = _NUMPYDOC.match(line)
            name = matched["name"] if matched else ""
        elif name and line.strip():
            found[name] = f"{found.get(name, '')} {line.strip()}".strip()
    return found


def _google(lines: list[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for line in lines:
        if line and not line[0].isspace():
            break
        if matched := _GOOGLE.match(line):
            found[matched["name"]] = matched["text"].strip()
    return found
