"""The annotations of a callable or class, unresolved, on every version of Python."""

from __future__ import annotations

import sys
from typing import Any


def annotations_of(annotated: Any) -> dict[str, Any]:
    """Return the annotations of a callable, or a class's own; a name that means nothing yet stays a text."""
    held = vars(annotated).get("__annotations__", {}) if isinstance(annotated, type) else None
    if sys.version_info >= (3, 14) and (held is None or isinstance(held, dict)):
        import annotationlib

        for kind in (annotationlib.Format.FORWARDREF, annotationlib.Format.STRING):
            try:
                found = annotationlib.get_annotations(annotated, format=kind).items()
            except Exception:  # an annotation may be any expression, and is evaluated here for the first time
                continue
            unknown = annotationlib.ForwardRef
            return {name: each.__forward_arg__ if isinstance(each, unknown) else each for name, each in found}
        return {}
    if held is None:
        held = getattr(annotated, "__annotations__", None)
    return held if isinstance(held, dict) else {}  # some classes compute those of their instances
