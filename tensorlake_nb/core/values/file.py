"""A file as a value that travels between functions."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel


class File(BaseModel):
    """Bytes with what is known about them.

    Attributes
    ----------
    data
        The file's content.
    mime_type, metadata
        The type of the content; other facts, by name.
    sha_256
        Digest of the content as its source gave it, in hex; it is not checked here.
    """

    data: bytes
    mime_type: str | None = None
    metadata: dict[str, Any] | None = None
    sha_256: str | None = None


# as users import them, and as stored data names them, wherever the file lies
File.__module__ = "tensorlake_nb"
