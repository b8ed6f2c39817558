"""What libraries make comes back: graphs, figures, soups, fitted models, tensors."""

from __future__ import annotations

from typing import Any

import matplotlib
import networkx as nx
import numpy as np
import pytest
import torch

from tensorlake_nb.core.keys import Digest
from tensorlake_nb.store.codec import PICKLE, Encoded, decode, encode

ANY = Digest(b"\0" * 32)


def kept(value: Any) -> Encoded:
    made = encode(value, digest=ANY)
    assert made.codec == PICKLE
    return made


def there_and_back(value: Any) -> Any:
    made = kept(value)
    return decode(made.codec, made.data)


def test_a_graph_whose_edges_were_looked_at() -> None:
    graph = nx.path_graph(4)
    assert len(graph.edges) == 3
    back = there_and_back(graph)
    assert list(back.edges) == [(0, 1), (1, 2), (2, 3)]
    assert back.edges._graph is back


def test_a_figure_is_a_figure_and_opens_nothing_in_pyplot(monkeypatch: pytest.MonkeyPatch) -> None:
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt  # after its backend was chosen

    figure, axes = plt.subplots()
    axes.plot([1, 2, 4])
    stored = kept(figure)
    plt.close(figure)
    back = decode(stored.codec, stored.data)
    assert list(back.axes[0].lines[0].get_ydata()) == [1, 2, 4]
    assert back.axes[0].figure is back
    assert plt.get_fignums() == []


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.int64, torch.bool, torch.complex64])
def test_tensors_keep_dtype_and_elements(dtype: torch.dtype) -> None:
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
def test_tensors_of_all_kinds(tensor: torch.Tensor) -> None:
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
