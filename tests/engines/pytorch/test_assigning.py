"""Parameters are put in their places directly only where torch's own loading would do nothing else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from safetensors.torch import save_file  # noqa: E402
from torch import Tensor, nn  # noqa: E402
from zoo_pytorch.assigning import assign_plainly  # noqa: E402
from zoo_pytorch.construction import build_on_meta  # noqa: E402
from zoo_pytorch.engine import PyTorchEngine  # noqa: E402


class Renaming(nn.Linear):
    """Its old files call the weight otherwise."""

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        state_dict[f"{prefix}weight"] = state_dict.pop(f"{prefix}weight") * 2
        super()._load_from_state_dict(state_dict, prefix, *rest)


class Recurrent(nn.Module):
    """torch's recurrent layers keep a second list of their weights, which an assignment brings up to date."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(3, 4)


class Tied(nn.Module):
    """One weight under two names, a frozen one, a buffer that is not saved."""

    def __init__(self) -> None:
        super().__init__()
        self.one = nn.Linear(3, 3)
        self.other = nn.Linear(3, 3)
        self.other.weight = self.one.weight
        self.other.bias.requires_grad_(False)
        self.norm = nn.BatchNorm1d(3)
        self.register_buffer("mask", torch.ones(2), persistent=False)


def hooked() -> nn.Module:
    network = nn.Linear(3, 2)
    network.register_load_state_dict_pre_hook(lambda _, state, prefix, *rest: state.update({f"{prefix}bias": torch.ones(2)}))
    return network


def observed() -> nn.Module:
    network = nn.Linear(3, 2)

    def clear(module: nn.Module, keys: Any) -> None:
        module.weight.data.zero_()

    network.register_load_state_dict_post_hook(clear)
    return network


NETWORKS: dict[str, tuple[Callable[[], nn.Module], bool]] = {
    "layers": (lambda: nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Linear(4, 2)), True),
    "tied": (Tied, True),
    "a class that changes what it loads": (lambda: nn.Sequential(Renaming(3, 2)), False),
    "a hook before": (hooked, False),
    "a hook after": (observed, False),
    "a class that watches its attributes": (Recurrent, False),
}


@pytest.mark.parametrize(("make", "is_plain"), NETWORKS.values(), ids=NETWORKS)
def test_the_result_is_what_torch_makes_of_the_file(make: Callable[[], nn.Module], is_plain: bool, tmp_path: Path) -> None:
    """The same values, the same ties, the same `requires_grad`, whichever way was taken."""
    state = {name: torch.rand_like(value, dtype=torch.float32).to(value.dtype) for name, value in make().state_dict().items()}
    if "other.weight" in state:
        state["other.weight"] = state["one.weight"].clone()
    save_file(state, tmp_path / "file.safetensors")
    expected = make()
    expected.load_state_dict(state)

    found = build_on_meta(make)
    PyTorchEngine().load_parameters(found, tmp_path / "file.safetensors")

    assert {name: value.requires_grad for name, value in found.named_parameters()} == {
        name: value.requires_grad for name, value in expected.named_parameters()
    }
    for name, value in expected.state_dict().items():
        assert torch.equal(found.state_dict()[name], value), name
    other = build_on_meta(make)
    assert assign_plainly(other, state, also_plain=(), others=()) is is_plain


def test_the_weights_of_a_recurrent_layer_are_those_that_it_computes_with(tmp_path: Path) -> None:
    source = Recurrent()
    save_file(source.state_dict(), tmp_path / "file.safetensors")
    found = build_on_meta(Recurrent)
    PyTorchEngine().load_parameters(found, tmp_path / "file.safetensors")
    x = torch.rand(5, 1, 3)
    assert torch.equal(found.lstm(x)[0], source.lstm(x)[0])


def test_other_names_are_left_to_torch_and_change_nothing() -> None:
    network = build_on_meta(lambda: nn.Linear(3, 2))
    given = {"weight": torch.rand(2, 3)}
    assert not assign_plainly(network, given, also_plain=(), others=())
    assert network.weight.is_meta


def test_one_tensor_under_two_names_stays_one_parameter() -> None:
    network = build_on_meta(Tied)
    shared = nn.Parameter(torch.rand(3, 3))
    state: dict[str, Tensor] = {name: torch.zeros_like(value, device="cpu") for name, value in network.state_dict().items()}
    assert assign_plainly(network, state | {"one.weight": shared, "other.weight": shared}, also_plain=(), others=())
    assert network.one.weight is network.other.weight is shared
