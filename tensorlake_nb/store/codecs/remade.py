"""Functions that pickles name to rebuild values. Stored files hold these names, so they stay.

Values of any type come through here: `Any` stops in this file.
"""

from __future__ import annotations

import importlib
import types
from typing import Any

import numpy as np

#: Names under which an exception's own state holds what is no attribute of its ``__dict__``.
LINKS = ("__cause__", "__context__", "__suppress_context__")


def exception(cls: type[BaseException], args: tuple[Any, ...]) -> BaseException:
    """Return an exception with those ``args`` without calling a Python ``__init__``, which may take others."""
    made: Any = _native(cls, "__new__")(cls, *args)
    _native(cls, "__init__")(made, *args)
    return made  # type: ignore[no-any-return]


def set_attributes(made: Any, state: dict[str, Any]) -> None:
    """Give an object its attributes, whatever its class does about that; an exception its notes and links, too."""
    for name, value in state.items():
        object.__setattr__(made, name, value)


def view(data: bytes | bytearray, format_: str, shape: tuple[int, ...]) -> memoryview:
    """Return a view of bytes in the form of an array's view."""
    plain = memoryview(data)
    return plain if (format_, shape) == ("B", plain.shape) else plain.cast("B").cast(format_, shape)  # type: ignore[call-overload]


def set_masked(made: Any, state: tuple[Any, bool, bool]) -> None:
    """Fill a masked array, and take the mask away again if there was none."""
    of_numpy, has_mask, is_hard = state
    made.__setstate__(of_numpy)
    if not has_mask:
        made._mask = np.ma.nomask
    if is_hard:
        made.harden_mask()


def bare(cls: type) -> Any:
    """Return an instance that none of its class's own code has made; its state follows."""
    return object.__new__(cls)


def torch_bytes(data: bytearray) -> Any:
    """Memory for tensors: the bytes themselves, without a copy."""
    torch = importlib.import_module("torch")
    return torch.frombuffer(data, dtype=torch.uint8).untyped_storage() if data else torch.UntypedStorage(0)


def torch_storage(bytes_: Any, dtype: Any) -> Any:
    """Return the same memory as elements of a dtype, as ``torch._utils`` wants it."""
    torch = importlib.import_module("torch")
    return torch.storage.TypedStorage(wrap_storage=bytes_, dtype=dtype, _internal=True)


def _native(cls: type, name: str) -> Any:
    """Return the nearest ``__new__`` or ``__init__`` of a class that isn't written in Python."""
    for base in cls.__mro__:
        found = vars(base).get(name)
        if found is not None and not isinstance(getattr(found, "__func__", found), types.FunctionType):
            return getattr(base, name)
    return getattr(object, name)
