"""Encodings of arrays of torch, jax and xarray, by the library that the value came from; none is imported for it.

A tensor is what can be seen of it and is sent: class, dtype, shape, elements, device, whether it requires a gradient.
Where its memory lies doesn't count, nor what else lies there: of a view pickle sends the whole storage, but a function
that is given the view sees the view's elements. Models, optimizers and data sets are plain objects around tensors.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from tensorlake_nb.core.values.array_rules import array_encoding
from tensorlake_nb.core.values.encoding import Encoding, Refusal, Rule, parts, type_name


def tensor_rule(cls: type) -> Rule | None:
    """Return the rule for a tensor or storage of torch, an array of jax or xarray, or a class below one, else None."""
    for base in cls.__mro__:
        library = base.__module__.partition(".")[0]
        if library == "torch" and base.__name__ in _TORCH:
            return _TORCH[base.__name__]
        if library in ("jax", "jaxlib") and base.__name__ == "ArrayImpl":
            return _jax_array
        if library == "xarray" and base.__name__ in _XARRAY:  # by its elements, whether they were read or not
            return lambda value, enc: array_encoding(np.asarray(value), enc)
    return None


def tied_parameters(module: Any) -> dict[str, Any]:
    """Find parameters of a torch model that are the same object: training changes them together.

    Given as an attribute beside the model's own; none where each is another, or where the model isn't whole yet.
    """
    names: dict[int, list[str]] = {}
    if "_modules" in vars(module):  # the class's own `named_parameters` may leave some out
        for name, parameter in sys.modules["torch"].nn.Module.named_parameters(module, remove_duplicate=False):
            names.setdefault(id(parameter), []).append(name)
    tied = [each for each in names.values() if len(each) > 1]
    return {"<tied>": tied} if tied else {}


def _tensor(value: Any, enc: Encoding) -> bytes:
    plain, layout = value.detach(), str(value.layout)
    if value.device.type == "meta":
        held: list[Any] = []
    elif value.is_quantized:
        scale = value.qscheme()
        by_channel = "channel" in str(scale)
        scales = (
            [value.q_per_channel_scales(), value.q_per_channel_zero_points(), value.q_per_channel_axis()]
            if by_channel
            else [value.q_scale(), value.q_zero_point()]
        )
        held = [_elements(plain.int_repr()), str(scale), *scales]
    elif layout == "torch.strided" and not getattr(value, "is_nested", False):
        held = [_elements(plain)]
    elif layout == "torch.sparse_coo":
        whole = plain.coalesce()
        held = [whole.indices(), whole.values(), whole.sparse_dim()]
    elif layout in ("torch.sparse_csr", "torch.sparse_bsr"):
        held = [plain.crow_indices(), plain.col_indices(), plain.values()]
    elif layout in ("torch.sparse_csc", "torch.sparse_bsc"):
        held = [plain.ccol_indices(), plain.row_indices(), plain.values()]
    else:
        raise Refusal(f"{type_name(value)} of layout {layout} has no digest")
    shown = (str(value.dtype), tuple(value.shape), str(value.device), layout, value.requires_grad)
    return b"Gt" + parts([enc.class_part(type(value)), *map(enc.encode, (shown, held, value.__dict__))])


def _elements(plain: Any) -> np.ndarray[Any, Any]:
    """Return the bytes of a tensor's elements in C order, including dtypes that numpy lacks."""
    plain = plain.cpu().resolve_conj().resolve_neg().contiguous()
    raw: np.ndarray[Any, Any] = plain.reshape(-1).view(sys.modules["torch"].uint8).numpy()
    return raw


def _storage(value: Any, enc: Encoding) -> bytes:
    untyped = getattr(value, "_untyped_storage", value)
    held = sys.modules["torch"].empty(0, dtype=sys.modules["torch"].uint8, device=untyped.device).set_(untyped)
    shown = (str(getattr(value, "dtype", None)), str(untyped.device))
    return b"Gs" + parts([enc.class_part(type(value)), enc.encode(shown), enc.encode(_elements(held))])


def _jax_array(value: Any, enc: Encoding) -> bytes:
    try:
        held = np.asarray(value)
    except Exception as error:  # random keys, arrays that were given away, those spread over other hosts
        raise Refusal(f"{type_name(value)} has no digest ({str(error).partition(chr(10))[0]:.200})") from error
    platforms = sorted({str(getattr(device, "platform", device)) for device in value.devices()})
    return b"Gj" + parts([enc.encode(held), enc.encode((bool(value.aval.weak_type), platforms))])


_XARRAY = ("MemoryCachedArray", "CopyOnWriteArray", "LazilyIndexedArray", "LazilyVectorizedIndexedArray")
_TORCH: dict[str, Rule] = {
    "Tensor": _tensor,
    "TensorBase": _tensor,
    "UntypedStorage": _storage,
    "TypedStorage": _storage,
}
