"""Tensors, and models, optimizers and data sets around them, count by what can be seen of them."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from tensorlake_nb.core.fingerprint.fingerprint import fingerprint
from tensorlake_nb.core.values.digest import digest, digest_with_notes

torch: Any = pytest.importorskip("torch")
torch.set_num_threads(1)
pytestmark = pytest.mark.filterwarnings("ignore:Sparse:UserWarning")  # torch says so of each sparse tensor
DTYPES = [
    torch.float32,
    torch.float64,
    torch.bfloat16,
    torch.float16,
    torch.int8,
    torch.int64,
    torch.bool,
    torch.complex64,
]
GRID = torch.tensor([[0.0, 1.0], [2.0, 0.0]])


def trained(seed: int = 0, steps: int = 2) -> tuple[Any, Any]:
    torch.manual_seed(seed)
    model = torch.nn.Sequential(
        torch.nn.Linear(2, 3), torch.nn.BatchNorm1d(3), torch.nn.Dropout(), torch.nn.Linear(3, 1)
    )
    optimizer = torch.optim.Adam(model.parameters())
    for _ in range(steps):
        optimizer.zero_grad()
        model(torch.rand(4, 2)).sum().backward()
        optimizer.step()
    return model, optimizer


def test_equal_tensors_are_equal_wherever_they_lie() -> None:
    wide = torch.stack([GRID, GRID], dim=-1)

    for other in (GRID.clone(), wide[..., 0], GRID.T.contiguous().T, pickle.loads(pickle.dumps(GRID))):
        assert digest(other) == digest(GRID)
    assert digest(torch.ones(2, dtype=torch.complex64).conj()) == digest(torch.ones(2, dtype=torch.complex64).conj())


def test_what_can_be_seen_of_a_tensor_counts() -> None:
    changed = GRID.clone()
    changed[0, 0] = -0.0
    noted = GRID.clone()
    noted.unit = "m"
    others: list[Any] = [
        changed, GRID.T, GRID.reshape(4), GRID.reshape(1, 4), GRID.clone().requires_grad_(), torch.nn.Parameter(GRID),
        torch.nn.Parameter(GRID, requires_grad=False), GRID.numpy(), GRID.to("meta"), torch.empty(3, 3, device="meta"),
        GRID.to_sparse(), GRID.to_sparse_csr(), GRID.to_sparse_csc(), torch.zeros(2, 2).to_sparse(), noted,
        GRID.untyped_storage(), torch.empty(0), torch.empty(0, 2), torch.tensor(0.0), torch.tensor([0.0]),
        *[torch.zeros(2, 2).to(dtype) for dtype in DTYPES], torch.device("cpu"), torch.float32, torch.Size([1]),
    ]  # fmt: skip

    assert len({digest(each) for each in [GRID, *others]}) == len(others) + 1
    assert [digest(copy.deepcopy(each)) for each in others[:8]] == [digest(each) for each in others[:8]]


def test_elements_of_a_sparse_tensor_have_no_order_and_no_repeats() -> None:
    spread = torch.sparse_coo_tensor(torch.tensor([[1, 0, 1], [0, 1, 0]]), torch.tensor([1.5, 1.0, 0.5]), (2, 2))

    assert digest(spread) == digest(GRID.to_sparse())


def test_a_gradient_is_not_sent_and_does_not_count() -> None:
    model, _ = trained()
    before = digest(model)
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)

    assert digest(model) == before == digest(pickle.loads(pickle.dumps(model)))


@pytest.mark.parametrize(
    "part",
    [lambda m, o: m, lambda m, o: o, lambda m, o: m.state_dict(), lambda m, o: o.state_dict(), lambda m, o: (m, o)],
)
def test_models_and_optimizers_count_by_what_they_have_learned(part: Any) -> None:
    one, same, other, longer = (part(*trained(*given)) for given in ((0, 2), (0, 2), (1, 2), (0, 3)))

    assert digest(one) == digest(same) == digest(copy.deepcopy(one))
    assert len({digest(one), digest(other), digest(longer)}) == 3
    assert digest_with_notes(one)[1] == ()


def test_a_module_counts_with_its_mode_and_its_buffers() -> None:
    def changed(how: Any) -> bytes:
        model, _ = trained()
        how(model)
        return digest(model)

    ways = [
        lambda m: None,
        lambda m: m.eval(),
        lambda m: m[1].running_mean.add_(1),
        lambda m: m[0].requires_grad_(False),
    ]
    assert len({changed(how) for how in ways}) == len(ways)


def test_parameters_that_are_one_and_the_same_count() -> None:
    """They are trained together, and apart once they are untied, though their values are equal."""
    first, second = torch.nn.Linear(2, 2, bias=False), torch.nn.Linear(2, 2, bias=False)
    second.weight = first.weight
    tied = torch.nn.Sequential(first, second)
    untied = copy.deepcopy(tied)
    untied[1].weight = torch.nn.Parameter(first.weight.detach().clone())
    repeated, twice = torch.nn.Sequential(first, first), torch.nn.Sequential(first, copy.deepcopy(first))

    assert digest(tied) == digest(copy.deepcopy(tied)) == digest(pickle.loads(pickle.dumps(tied)))
    assert len({digest(untied), digest(tied), digest([untied])}) == 3
    assert digest(repeated) != digest(twice)


def test_generators_and_data_sets_count_by_their_state() -> None:
    def generator(seed: int) -> Any:
        return torch.Generator().manual_seed(seed)

    data = torch.utils.data.TensorDataset
    assert digest(generator(1)) == digest(generator(1)) != digest(generator(2))
    assert digest(data(GRID)) == digest(data(GRID.clone())) != digest(data(GRID + 1))


def shown() -> str:
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.BatchNorm1d(3))
    return f"{digest((model, model.state_dict())).hex()} {fingerprint(lambda: model).fingerprint}"


def test_a_model_is_the_same_in_the_next_process() -> None:
    script = "from tests.unit.core.values import test_tensor_rules as there; print(there.shown())"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == shown()


class ArrayImpl:
    """What jax's arrays show."""

    def __init__(self, held: Any, weak_type: bool = False) -> None:
        self.held, self.aval = np.asarray(held), type("Aval", (), {"weak_type": weak_type})()

    def devices(self) -> set[str]:
        return {"cpu"}

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray[Any, Any]:
        return self.held


ArrayImpl.__module__ = "jaxlib._jax"


def test_arrays_of_jax_count_by_their_elements() -> None:
    assert digest(ArrayImpl([1.0])) == digest(ArrayImpl([1.0]))
    assert len({digest(ArrayImpl(*given)) for given in (([1.0],), ([2.0],), ([1],), ([1.0], True), (1.0,))}) == 5
