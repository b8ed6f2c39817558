"""Annotations that decide what a value is bound to or validated into, with the classes that they name."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tensorlake_nb.core.code.names_read import Chain
from tensorlake_nb.core.code.raw_annotations import annotations_of
from tensorlake_nb.core.fingerprint.modules import follow

if TYPE_CHECKING:
    from tensorlake_nb.core.fingerprint.walk import Reach


def annotation_ref(reach: Reach, annotation: Any, namespace: Mapping[str, Any], label: str) -> str:
    """Return the form of an annotation in a part: its text if it is one, and the classes in it."""
    if not isinstance(annotation, str):
        return reach.code_ref(annotation) or reach.encode(annotation, label).hex()
    try:
        tree = ast.parse(annotation, mode="eval")
    except SyntaxError:
        return annotation
    found = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and node.id in namespace:
            held, chains = namespace[node.id], _chains_of(tree, node)
            found[node.id] = follow(reach, held, chains, node.id, namespace.get("__name__"))
    return ast.unparse(tree) + "".join(f" {name}={found[name]}" for name in sorted(found))


def parameter_refs(reach: Reach, function: Any) -> dict[str, str]:
    """Return the annotations of a function's parameters, which decide how values are bound and validated."""
    refs = {}
    annotations = annotations_of(function)
    namespace = getattr(inspect.unwrap(function), "__globals__", {})
    for name in sorted(annotations):
        if name != "return":
            label, annotation = f"annotation {name}", annotations[name]
            refs[label] = annotation_ref(reach, annotation, namespace, label)
            reach.sources[label] = annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)
    return refs


def _chains_of(tree: ast.AST, name: ast.Name) -> list[Chain]:
    """Return the chains of attributes that are read from a name."""
    for node in ast.walk(tree):
        chain = list[str]()
        inner: Any = node
        while isinstance(inner, ast.Attribute):
            chain.append(inner.attr)
            inner = inner.value
        if inner is name and chain:
            return [tuple(reversed(chain))]
    return [()]
