"""What PyTorch makes comes back: tensors, parameters, models."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tensorlake_nb.store.codecs.codec import decode
from tests.support.pickles import kept, there_and_back

torch = pytest.importorskip("torch")


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.int64, torch.bool, torch.complex64])
def test_tensors_keep_dtype_and_elements(dtype: Any) -> None:
    tensor = torch.arange(6).reshape(2, 3).to(dtype)
    back = there_and_back(tensor)
    assert (back.dtype, back.shape) == (tensor.dtype, tensor.shape)
    assert torch.equal(back, tensor)
    back[0, 0] = 1


@pytest.mark.parametrize(
    "tensor",
    [
        torch.tensor([1.0], requires_grad=True),
        torch.nn.Parameter(torch.ones(2)),
        torch.empty((0, 3)),
        torch.tensor(7),
        torch.ones(2, 3).t(),
    ],
    ids=["with a gradient", "a parameter", "empty", "a scalar", "transposed"],
)
def test_tensors_of_all_kinds(tensor: Any) -> None:
    back = there_and_back(tensor)
    assert (type(back), back.shape, back.stride()) == (type(tensor), tensor.shape, tensor.stride())
    assert back.requires_grad == tensor.requires_grad
    assert torch.equal(back, tensor)


def test_a_sparse_tensor() -> None:
    back = there_and_back(torch.eye(3).to_sparse())
    assert torch.equal(back.to_dense(), torch.eye(3))


def test_a_large_tensor_is_read_in_place() -> None:
    tensor = torch.arange(300_000, dtype=torch.float32)
    stored = kept(tensor)
    assert stored.size_bytes < 1_200_000 + 1000
    assert torch.equal(decode(stored.codec, stored.data), tensor)


def test_a_part_of_a_large_tensor_goes_without_the_rest() -> None:
    whole = torch.arange(100_000).reshape(1000, 100)
    assert kept((whole[3], 1)).size_bytes < 2000
    assert torch.equal(there_and_back(whole[3]), whole[3])


def test_tensors_that_share_memory_go_on_to_share_it() -> None:
    tensor = torch.ones(4)
    first, second = there_and_back((tensor, tensor.view(2, 2)))
    first[0] = 7
    assert second[0, 0] == 7


def test_a_model_and_what_refers_to_its_parameters() -> None:
    model = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2))
    model(torch.ones(4, 3))
    back, parameters = there_and_back((model, list(model.parameters())))
    for name, value in model.state_dict().items():
        assert torch.equal(back.state_dict()[name], value)
    assert parameters[0] is back[0].weight
    assert there_and_back(model.state_dict()).keys() == model.state_dict().keys()


def test_an_array_of_numpy_beside_a_tensor() -> None:
    array, tensor = there_and_back((np.arange(3), torch.ones(1)))
    assert (array.tolist(), tensor.item()) == ([0, 1, 2], 1.0)
