"""Encodings of pandas, polars and Arrow data, by the library that the value came from; none is imported for it.

What can be seen counts: names and their order, dtypes, indexes, categories (unused ones too), time zones, which values
are missing. How a column is laid out doesn't: blocks, chunks, offsets, and whatever lies below a missing value.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from tensorlake_nb.core.values.encoding import Encoding, Refusal, Rule, count, field, parts


def table_rule(cls: type) -> Rule | None:
    """Return the rule for a class of pandas, polars or pyarrow, or below one, else None."""
    for base in cls.__mro__:
        library = base.__module__.partition(".")[0]
        choose = {"pandas": _pandas_rule, "polars": _polars_rule, "pyarrow": _arrow_rule}.get(library)
        if choose is not None and library in sys.modules:
            return choose(cls, sys.modules[library])
    return None


def _named(tag: bytes, items: list[tuple[str, Any]], enc: Encoding, *head: bytes) -> bytes:
    out = list(head)
    for name, item in items:
        try:
            out.append(enc.encode(item))
        except Refusal as refusal:
            refusal.inside(name)
            raise
    return tag + count(len(out)) + parts(out)


# ------------------------------------------------------------------------------------------------------------- pandas


def _pandas_rule(cls: type, pd: Any) -> Rule | None:
    if issubclass(cls, pd.DataFrame):
        return _frame
    if issubclass(cls, pd.Series):
        return _series
    if issubclass(cls, pd.MultiIndex):
        return _multi_index
    if issubclass(cls, pd.RangeIndex):
        return lambda v, enc: _named(
            b"qr", [("", v.start), ("", v.stop), ("", v.step), (".name", v.name)], enc, enc.class_part(type(v))
        )
    if issubclass(cls, pd.Index):
        return _index
    if issubclass(cls, pd.api.extensions.ExtensionArray):
        return _extension_rule(cls, pd)
    if issubclass(cls, pd.CategoricalDtype):
        return lambda v, enc: _named(b"qc", [(".categories", v.categories), (".ordered", v.ordered)], enc)
    return None


def _extra(value: Any) -> list[tuple[str, Any]]:
    flags = value.flags.allows_duplicate_labels
    extra = [
        (f".{name}", getattr(value, name, None)) for name in type(value)._metadata if name not in ("name", "_name")
    ]
    return [(".attrs", dict(value.attrs)), (".flags", flags), *extra]


def _frame(value: Any, enc: Encoding) -> bytes:
    columns = [
        (f"[{name!r:.40}]", value._ixs(i, axis=1).array) for i, name in enumerate(value.columns)
    ]  # a frame may have two columns of one name, so by position
    items = [(".columns", value.columns), (".index", value.index), *_extra(value), *columns]
    return _named(b"qf", items, enc, enc.class_part(type(value)))


def _series(value: Any, enc: Encoding) -> bytes:
    items = [(".name", value.name), (".index", value.index), *_extra(value), ("", value.array)]
    return _named(b"qs", items, enc, enc.class_part(type(value)))


def _index(value: Any, enc: Encoding) -> bytes:
    freq = getattr(value, "freqstr", None)
    items = [(".name", value.name), (".freq", freq), ("", value.array)]
    return _named(b"qi", items, enc, enc.class_part(type(value)))


def _multi_index(value: Any, enc: Encoding) -> bytes:
    items: list[tuple[str, Any]] = [(".names", list(value.names))]
    items += [(f".levels[{i}]", level) for i, level in enumerate(value.levels)]
    items += [(f".codes[{i}]", np.asarray(codes, np.int64)) for i, codes in enumerate(value.codes)]
    return _named(b"qm", items, enc, enc.class_part(type(value)))


def _extension_rule(cls: type, pd: Any) -> Rule | None:
    arrays = pd.arrays
    if issubclass(cls, arrays.NumpyExtensionArray) and not issubclass(cls, getattr(arrays, "StringArray", ())):
        return lambda v, enc: _named(b"qa", [("", v.to_numpy(copy=False))], enc)
    if issubclass(cls, pd.Categorical):
        return lambda v, enc: _named(
            b"qC", [(".categories", v.categories), (".ordered", v.ordered), (".codes", np.asarray(v.codes))], enc
        )
    if issubclass(cls, arrays.DatetimeArray | arrays.TimedeltaArray | arrays.PeriodArray):
        return lambda v, enc: _named(
            b"qt", [("", str(v.dtype)), (".tz", getattr(v, "tz", None)), ("", np.asarray(v.asi8))], enc
        )
    if issubclass(cls, arrays.IntervalArray):
        return lambda v, enc: _named(b"qn", [("", v.closed), (".left", v.left), (".right", v.right)], enc)
    if issubclass(cls, arrays.SparseArray):
        return lambda v, enc: _named(
            b"qz", [("", v.fill_value), ("", v.sp_values), ("", v.sp_index.indices), ("", len(v))], enc
        )
    if hasattr(cls, "_mask") or issubclass(cls, arrays.IntegerArray | arrays.FloatingArray | arrays.BooleanArray):
        return _pandas_nullable
    if hasattr(cls, "__arrow_array__") and issubclass(cls, arrays.ArrowExtensionArray):
        return lambda v, enc: _named(b"qw", [("", str(v.dtype)), ("", _na_of(v.dtype)), ("", v.__arrow_array__())], enc)
    if issubclass(cls, getattr(arrays, "StringArray", ())):
        return _pandas_strings
    return None


def _na_of(dtype: Any) -> str:
    storage = getattr(dtype, "storage", "")
    return f"{storage}/{getattr(dtype, 'na_value', '')!r}"


def _pandas_strings(value: Any, enc: Encoding) -> bytes:
    missing = np.asarray(value.isna())
    held = np.array(value, dtype=object)
    held[missing] = None
    return _named(b"qS", [("", str(value.dtype)), ("", _na_of(value.dtype)), ("", held)], enc)


def _pandas_nullable(value: Any, enc: Encoding) -> bytes:
    missing = np.asarray(value.isna())
    held = np.array(value._data)
    held[missing] = np.zeros((), held.dtype)
    return _named(b"qM", [("", str(value.dtype)), ("", held), (".isna()", missing)], enc)


# ------------------------------------------------------------------------------------------------------------- polars


def _polars_rule(cls: type, pl: Any) -> Rule | None:
    if issubclass(cls, pl.DataFrame):
        return _polars_frame
    if issubclass(cls, pl.Series):
        return lambda v, enc: b"Qs" + parts([enc.class_part(type(v)), enc.encode(v.name)]) + _polars_column(v, enc, pl)
    return None


def _polars_frame(value: Any, enc: Encoding) -> bytes:
    columns = [(f"[{name!r:.40}]", column) for name, column in zip(value.columns, value.get_columns(), strict=True)]
    return _named(b"Qf", [("", value.height), *columns], enc, enc.class_part(type(value)))


def _polars_column(column: Any, enc: Encoding, pl: Any) -> bytes:
    """Encode a column: dtype, length, missing values, then the values, missing ones as zero, nested ones by leaves."""
    dtype, n = column.dtype, len(column)
    missing = column.is_null()
    head = field(_polars_dtype(dtype, pl).encode()) + count(n)
    head += parts([enc.encode(missing.to_numpy())]) if missing.any() else b"-"
    if isinstance(dtype, pl.Null):
        return head
    if isinstance(dtype, pl.Object):
        return head + parts([enc.encode(column.to_list())])
    if isinstance(dtype, pl.Struct):
        fields = [_polars_column(column.struct.field(name), enc, pl) for name in column.struct.fields]
        return head + b"".join(map(field, fields))
    if isinstance(dtype, pl.Array):
        column, dtype = column.arr.to_list(), pl.List(dtype.inner)
    if isinstance(dtype, pl.List):
        lengths = column.list.len().fill_null(0)
        held = column.filter(lengths > 0).explode()
        return head + parts([enc.encode(lengths.to_numpy())]) + field(_polars_column(held, enc, pl))
    if isinstance(dtype, pl.Categorical | pl.Decimal):
        column, dtype = column.cast(pl.String), pl.String()
    if isinstance(dtype, pl.String):
        column = column.fill_null("")
        lengths, joined = column.str.len_bytes(), column.str.join("").item() or ""
        return head + parts([enc.encode(lengths.to_numpy()), enc.encode(joined)])
    if isinstance(dtype, pl.Binary):
        chunks = [item or b"" for item in column.to_list()]
        lengths_of = np.fromiter(map(len, chunks), np.int64, n)
        return head + parts([enc.encode(lengths_of), enc.encode(b"".join(chunks))])
    if isinstance(dtype, pl.Boolean):
        return head + parts([enc.encode(column.fill_null(False).to_numpy())])
    try:
        physical = column.to_physical().fill_null(0).to_numpy()
    except Exception:  # a dtype that we don't know: its items as Python sees them
        return head + parts([enc.encode(column.to_list())])
    return head + parts([enc.encode(physical)])


def _polars_dtype(dtype: Any, pl: Any) -> str:
    if isinstance(dtype, pl.Enum):
        return f"Enum({dtype.categories.to_list()!r})"
    if isinstance(dtype, pl.List | pl.Array):
        inner = _polars_dtype(dtype.inner, pl)
        return f"{type(dtype).__name__}({inner}, {getattr(dtype, 'shape', None)})"
    if isinstance(dtype, pl.Struct):
        return "Struct(" + ", ".join(f"{item.name!r}: {_polars_dtype(item.dtype, pl)}" for item in dtype.fields) + ")"
    return str(dtype)


# -------------------------------------------------------------------------------------------------------------- Arrow


def _arrow_rule(cls: type, pa: Any) -> Rule | None:
    if issubclass(cls, pa.Table | pa.RecordBatch):
        return lambda v, enc: _named(
            b"Af",
            [
                (".schema", v.schema),
                ("", v.num_rows),
                *((f"[{v.schema.field(i).name!r}]", v.column(i)) for i in range(v.num_columns)),
            ],
            enc,
            enc.class_part(type(v)),
        )
    if issubclass(cls, pa.ChunkedArray):
        return lambda v, enc: b"Ac" + _arrow_column(_combined(v, pa), enc, pa)
    if issubclass(cls, pa.Array):
        return lambda v, enc: b"Aa" + _arrow_column(v, enc, pa)
    if issubclass(cls, pa.Scalar):
        return lambda v, enc: b"As" + _arrow_column(pa.array([v.as_py()], v.type), enc, pa)
    if issubclass(cls, pa.Schema):
        return _arrow_schema
    if issubclass(cls, pa.Field):
        return lambda v, enc: b"Ai" + _arrow_field(v, enc)
    if issubclass(cls, pa.DataType):
        return lambda v, enc: b"At" + str(v).encode()
    return None


def _arrow_schema(value: Any, enc: Encoding) -> bytes:
    fields = [field(_arrow_field(item, enc)) for item in value]
    metadata = sorted((value.metadata or {}).items())
    return b"Ah" + count(len(fields)) + b"".join(fields) + parts([enc.encode(metadata)])


def _arrow_field(value: Any, enc: Encoding) -> bytes:
    metadata = sorted((value.metadata or {}).items())
    return parts([enc.encode((value.name, str(value.type), value.nullable, metadata))])


def _combined(value: Any, pa: Any) -> Any:
    if value.num_chunks == 1:
        return value.chunk(0)
    joined = value.combine_chunks()
    return _combined(joined, pa) if isinstance(joined, pa.ChunkedArray) and joined.num_chunks == 1 else joined


def _arrow_column(column: Any, enc: Encoding, pa: Any) -> bytes:
    """Encode an array: type, length, missing values, then the values, missing ones as zero, nested ones by leaves."""
    kind, n = column.type, len(column)
    head = field(str(kind).encode()) + count(n)
    head += parts([enc.encode(column.is_null().to_numpy(zero_copy_only=False))]) if column.null_count else b"-"
    is_a = pa.types
    if isinstance(column, pa.ChunkedArray) or n == 0:  # too long for one array of this type
        return head + parts([enc.encode(column.to_pylist())])
    if isinstance(kind, pa.BaseExtensionType):
        return head + field(_arrow_column(column.storage, enc, pa))
    if is_a.is_dictionary(kind):
        return head + field(_arrow_column(column.dictionary_decode(), enc, pa))
    if is_a.is_struct(kind):
        return head + b"".join(field(_arrow_column(item, enc, pa)) for item in column.flatten())
    if is_a.is_list(kind) or is_a.is_large_list(kind):
        lengths = column.value_lengths().fill_null(0).to_numpy(zero_copy_only=False)
        return head + parts([enc.encode(lengths)]) + field(_arrow_column(column.flatten(), enc, pa))
    if is_a.is_string(kind) or is_a.is_large_string(kind) or is_a.is_binary(kind) or is_a.is_large_binary(kind):
        return head + _arrow_bytes(column, enc, pa)
    if (is_a.is_integer(kind) or is_a.is_floating(kind) or is_a.is_temporal(kind)) and kind.bit_width % 8 == 0:
        width = kind.bit_width // 8
        held = np.frombuffer(column.buffers()[1], np.uint8)[column.offset * width : (column.offset + n) * width]
        if column.null_count:
            held = held.reshape(n, width).copy()
            held[column.is_null().to_numpy(zero_copy_only=False)] = 0
        return head + parts([enc.encode(held.reshape(-1))])
    return head + parts([enc.encode(column.to_pylist())])


def _arrow_bytes(column: Any, enc: Encoding, pa: Any) -> bytes:
    empty = pa.scalar("" if "string" in str(column.type) else b"", column.type)
    held = column.fill_null(empty) if column.null_count else column
    wide = np.int64 if "large" in str(held.type) else np.int32
    offsets = np.frombuffer(held.buffers()[1], wide)[held.offset : held.offset + len(held) + 1]
    data = held.buffers()[2]
    raw = np.frombuffer(data, np.uint8)[offsets[0] : offsets[-1]] if data is not None else np.empty(0, np.uint8)
    return parts([enc.encode(np.diff(offsets)), enc.encode(raw)])
