"""The state of a run in the transient part of a display message: how `tensorlake-nb run` sees it in the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from tensorlake_nb.notebook.drawing.picture import Box, BoxCounts, Picture

VERSION = 1
#: Under this name the state of a run travels in the transient part of a display message, which no front end keeps.
TRANSIENT = "tensorlake_nb"


def to_message(picture: Picture) -> dict[str, Any]:
    """Names, kinds and counts; the size doesn't depend on the number of elements."""
    return {
        "version": VERSION,
        "name": picture.name,
        "status": picture.status,
        "doing": picture.doing,
        "boxes": [
            {"name": box.name, "kind": box.kind, "counts": box.counts and asdict(box.counts)} for box in picture.boxes
        ],
    }


def of_message(message: Mapping[str, Any]) -> Picture | None:
    """Read it back on the other side; None for a message of another version."""
    if message.get("version") != VERSION:
        return None
    boxes = tuple(
        Box(str(box["name"]), box["kind"], counts=BoxCounts.of(box["counts"] or {})) for box in message["boxes"]
    )
    doing = str(message.get("doing", ""))
    return Picture(str(message["name"]), "", boxes, (), status=message["status"], doing=doing)
