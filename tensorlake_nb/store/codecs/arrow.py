"""Frames and tables of pandas, polars and pyarrow ↔ Arrow IPC streams.

The libraries are optional and slow to import, so they are looked for among what is imported already: a value of
theirs can't exist otherwise. Reading imports them when a stored value asks for one. None of them is typed here:
`Any` stops in this file.
"""

from __future__ import annotations

import datetime as dt
import importlib
import io
import sys
from typing import Any

from tensorlake_nb.errors import CheckpointNotFoundError


def to_arrow(value: Any) -> tuple[str, bytes] | None:
    """Return a frame's or table's kind and Arrow IPC stream; ``None`` for other values, or where Arrow refuses.

    Kinds are ``"pandas.DataFrame"``, ``"polars.DataFrame"``, ``"polars.Series"``, ``"pyarrow.Table"`` and
    ``"pyarrow.RecordBatch"``. Whether nothing is lost on the way is for the caller to check, by digest.
    """
    cls = type(value)
    library = cls.__module__.partition(".")[0]
    if library not in ("pandas", "polars", "pyarrow"):
        return None
    kind = f"{library}.{cls.__name__}"
    if kind not in _READERS or getattr(sys.modules[library], cls.__name__, None) is not cls:
        return None
    if library == "pandas" and value.columns.inferred_type.startswith("mixed"):
        return None  # Arrow would make text of all names, and warn
    try:
        if library == "polars":
            frame = value.to_frame() if kind == "polars.Series" else value
            file = io.BytesIO()
            frame.write_ipc_stream(file)
            return kind, file.getvalue()
        return kind, _ipc_stream(value)
    except Exception:  # mixed columns, odd indexes, a missing pyarrow: another codec keeps those
        return None


def from_arrow(kind: str, data: bytes) -> Any:
    """Return the value of a stream made by `to_arrow`.

    Raises
    ------
    CheckpointNotFoundError
        The library that the value needs isn't installed here.
    """
    if kind not in _READERS:
        raise ValueError(f"{kind!r:.80} isn't a kind of table")
    library = kind.partition(".")[0]
    try:
        importlib.import_module(library)
        if library != "polars":
            importlib.import_module("pyarrow")
    except ImportError as error:
        raise CheckpointNotFoundError(f"a stored {kind} can't be read here: {error}. Install {library}.") from error
    return _READERS[kind](data)


def _ipc_stream(value: Any) -> bytes:
    arrow: Any = importlib.import_module("pyarrow")
    table = arrow.Table.from_pandas(value) if type(value).__module__.startswith("pandas") else value
    sink = arrow.BufferOutputStream()
    with arrow.ipc.new_stream(sink, table.schema) as writer:
        writer.write(table)
    stream: bytes = sink.getvalue().to_pybytes()
    return stream


def _arrow_table(data: bytes) -> Any:
    return sys.modules["pyarrow"].ipc.open_stream(data).read_all()


def _pandas_frame(data: bytes) -> Any:
    # Columns may be views of `data`, which can't be written to: the caller gets a frame of its own.
    frame = _arrow_table(data).to_pandas().copy()
    for name, dtype in frame.dtypes.items():
        if str(getattr(dtype, "tz", None)) == "UTC":  # pandas itself says datetime.UTC, Arrow gives it a ZoneInfo
            frame[name] = frame[name].dt.tz_convert(dt.UTC)
    return frame


def _record_batch(data: bytes) -> Any:
    return sys.modules["pyarrow"].ipc.open_stream(data).read_next_batch()


def _polars_frame(data: bytes) -> Any:
    return sys.modules["polars"].read_ipc_stream(io.BytesIO(data))


_READERS = {
    "pandas.DataFrame": _pandas_frame,
    "polars.DataFrame": _polars_frame,
    "polars.Series": lambda data: _polars_frame(data).to_series(0),
    "pyarrow.Table": _arrow_table,
    "pyarrow.RecordBatch": _record_batch,
}
