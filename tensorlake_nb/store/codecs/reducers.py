"""Take values apart for a pickle, where their own way loses something or can't be reversed.

- **Exceptions**: their own way calls the class with ``args``, which ``__init__`` may have made of others. Notes, cause
  and context, which it forgets, come along.
- **memoryview**: comes back as one, and not as bytes.
- **Masked arrays** of numpy: without a mask and with a hard one they come back so.
- **Figures of matplotlib**: pyplot of the process that reads one is left alone.
- **Tensors of torch**: their memory as it is, read back without a copy; tensors that share memory keep sharing it.

Values of any type come through here: `Any` stops in this file.
"""

from __future__ import annotations

import copyreg
import io
import pickle
import sys
from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from tensorlake_nb.core import jinja_templates
from tensorlake_nb.store.codecs import remade

#: Gives what ``__reduce__`` would, or ``NotImplemented``. ``can_be_kept`` tries whether something pickles.
Reducer = Callable[[Any, Callable[[Any], bool]], Any]

_found: WeakKeyDictionary[type, Reducer | None] = WeakKeyDictionary()


def reducer_of(cls: type) -> Reducer | None:
    """Return the rule for instances of a class, if there is one."""
    try:
        return _found[cls]
    except KeyError:
        rule = _found[cls] = _rule_for(cls)
        return rule


def bare(value: Any) -> Any:
    """Reduce a value to its class and attributes where its own ways can't be undone; else ``NotImplemented``.

    Only where attributes are all that there is: types of C may hold more.
    """
    cls = type(value)
    if isinstance(value, type) or not cls.__flags__ & _MADE_BY_A_PROGRAM:
        return NotImplemented
    try:
        object.__new__(cls)
    except TypeError:
        return NotImplemented
    return remade.bare, (cls,), {**getattr(value, "__dict__", {}), **_slots(value)}, None, None, remade.set_attributes


def _slots(value: Any) -> dict[str, Any]:
    names: list[str] = copyreg._slotnames(type(value))  # type: ignore[attr-defined]
    return {name: getattr(value, name) for name in names if hasattr(value, name)}


def _rule_for(cls: type) -> Reducer | None:
    if cls is memoryview:
        return _view
    if issubclass(cls, np.ma.MaskedArray) and cls is not type(np.ma.masked):
        return _masked
    if issubclass(cls, io.IOBase) and cls.__module__ == "_io" and not issubclass(cls, io.BytesIO | io.StringIO):
        return _file
    template = jinja_templates.reducer_of(cls)
    if template is not None:
        return lambda value, _: template(value)
    if issubclass(cls, BaseException):
        own = next(base for base in cls.__mro__ if {"__reduce__", "__reduce_ex__"} & vars(base).keys())
        return None if own.__flags__ & _MADE_BY_A_PROGRAM else _exception
    for base in cls.__mro__:
        rule = _BY_NAME.get((base.__module__, base.__qualname__))
        if rule is not None:
            return rule
    return None


def _exception(value: Any, can_be_kept: Callable[[Any], bool]) -> Any:
    _, args, *rest = value.__reduce_ex__(4)
    state = {**_slots(value), **(rest[0] if rest and type(rest[0]) is dict else {})}
    for name in remade.LINKS:
        link = getattr(value, name)
        if link and (link is True or can_be_kept(link)):
            state[name] = link
    return remade.exception, (type(value), args), state or None, None, None, remade.set_attributes


def _view(value: memoryview, _: Callable[[Any], bool]) -> Any:
    data = value.tobytes()
    return remade.view, (data if value.readonly else bytearray(data), value.format, value.shape)


def _masked(value: Any, _: Callable[[Any], bool]) -> Any:
    make, args, state, *rest = value.__reduce_ex__(5)
    if value.mask is not np.ma.nomask and not value.hardmask:
        return make, args, state, *rest
    return make, args, (state, value.mask is not np.ma.nomask, value.hardmask), None, None, remade.set_masked


def _file(value: Any, _: Callable[[Any], bool]) -> Any:
    """Refuse an open file: cloudpickle would make a text in memory of it, and something else would come back."""
    raise pickle.PicklingError(f"an open file can't be kept: {value!r:.100}")


def _figure(value: Any, _: Callable[[Any], bool]) -> Any:
    make, args, state, *rest = value.__reduce_ex__(5)
    if type(state) is dict:
        state = {name: held for name, held in state.items() if name != "_restore_to_pylab"}
    return make, args, state, *rest


def _tensor(value: Any, _: Callable[[Any], bool]) -> Any:
    """Reduce a small view of a large tensor without the rest of the tensor."""
    torch = sys.modules["torch"]
    if type(value) is not torch.Tensor or value.layout is not torch.strided or value.is_quantized or vars(value):
        return NotImplemented
    if value.device.type != "cpu" or 2 * value.numel() * value.element_size() >= value.untyped_storage().nbytes():
        return NotImplemented
    return value.detach().clone().requires_grad_(value.requires_grad).__reduce_ex__(5)


def _torch_storage(value: Any, _: Callable[[Any], bool]) -> Any:
    return remade.torch_storage, (value._untyped_storage, value.dtype)


def _torch_bytes(value: Any, _: Callable[[Any], bool]) -> Any:
    if value.device.type != "cpu":
        return NotImplemented
    torch = sys.modules["torch"]
    elements = torch.empty(0, dtype=torch.uint8).set_(value).numpy()
    return remade.torch_bytes, (pickle.PickleBuffer(elements) if len(elements) else bytearray(),)


#: ``Py_TPFLAGS_HEAPTYPE``: a class that a program has made, in Python or otherwise.
_MADE_BY_A_PROGRAM = 1 << 9
_BY_NAME: dict[tuple[str, str], Reducer] = {
    ("matplotlib.figure", "Figure"): _figure,
    ("torch", "Tensor"): _tensor,
    ("torch.storage", "TypedStorage"): _torch_storage,
    ("torch.storage", "UntypedStorage"): _torch_bytes,
}
