"""Networks are built without memory for their parameters, and everything else in them is real."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch")

from torch import nn  # noqa: E402
from zoo_pytorch.construction import build_on_meta, left_on_meta  # noqa: E402

ROOT = Path(__file__).resolve().parents[3]


class Detector(nn.Module):
    """What breaks when a whole constructor runs on the meta device."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3)
        self.anchors = [torch.tensor([1.0, 2.0]), torch.tensor([3.0, 4.0])]
        self.register_buffer("grid", torch.arange(4.0), persistent=False)
        self.rate = torch.linspace(0, 0.5, 3)[1].item()
        self.scale = torch.full((2,), 7.0)


def test_parameters_are_on_the_meta_device() -> None:
    net = build_on_meta(Detector)
    assert all(parameter.is_meta for parameter in net.parameters())


def test_buffers_anchors_and_values_read_in_the_constructor_are_computed() -> None:
    net = build_on_meta(Detector)
    assert net.grid.tolist() == [0.0, 1.0, 2.0, 3.0]
    assert [anchor.tolist() for anchor in net.anchors] == [[1.0, 2.0], [3.0, 4.0]]
    assert net.rate == 0.25
    assert net.scale.tolist() == [7.0, 7.0]
    assert left_on_meta(net) == ["conv.weight", "conv.bias"]


def test_a_constructor_that_reads_a_parameter_is_run_for_real() -> None:
    class Normalised(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(3))
            self.total = self.weight.sum().item()

    net = build_on_meta(Normalised)
    assert net.total == 3.0
    assert not net.weight.is_meta


def test_an_error_of_the_constructor_reaches_the_caller() -> None:
    def fails() -> nn.Module:
        raise RuntimeError("no such size")

    with pytest.raises(RuntimeError, match="no such size"):
        build_on_meta(fails)


def test_tied_parameters_stay_one_object() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encoder = nn.Embedding(10, 4)
            self.decoder = nn.Linear(4, 10, bias=False)
            self.decoder.weight = self.encoder.weight

    net = build_on_meta(Tied)
    assert net.decoder.weight is net.encoder.weight


def test_one_new_parameter_under_two_names_is_one_stand_in() -> None:
    class Shared(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            both = nn.Parameter(torch.ones(3))
            self.first = both
            self.second = both

    net = build_on_meta(Shared)
    assert net.first is net.second
    assert net.first.is_meta


def test_requires_grad_is_kept() -> None:
    class Frozen(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(3), requires_grad=False)

    assert build_on_meta(Frozen).weight.requires_grad is False


def test_a_layer_made_by_another_thread_meanwhile_is_real() -> None:
    building, done = threading.Event(), threading.Event()
    made = []

    def other_thread() -> None:
        building.wait(10)
        made.append(nn.Linear(2, 2))
        done.set()

    def slow() -> nn.Module:
        building.set()
        assert done.wait(10)
        return nn.Linear(2, 2)

    thread = threading.Thread(target=other_thread)
    thread.start()
    net = build_on_meta(slow)
    thread.join()
    assert net.weight.is_meta
    assert not made[0].weight.is_meta


def test_a_layer_made_afterwards_is_real() -> None:
    build_on_meta(lambda: nn.Linear(2, 2))
    assert not nn.Linear(2, 2).weight.is_meta


def test_a_meta_tensor_is_found_in_lists_dicts_and_attributes() -> None:
    class Hiding(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            meta = torch.empty(1, device="meta")
            self.plain = meta
            self.listed = [torch.ones(1), (meta,)]
            self.named = {"a": {"b": meta}}

    assert sorted(left_on_meta(nn.Sequential(Hiding()))) == ["0.listed.1.0", "0.named.a.b", "0.plain"]


class Initialised(nn.Module):
    """Every way in which published networks set the first values of their parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.dense = nn.Linear(4, 4)
        self.embedding = nn.Embedding(5, 4, padding_idx=1)
        self.layers = nn.TransformerEncoder(
            nn.TransformerEncoderLayer(4, 2, 8, batch_first=True), 2, enable_nested_tensor=False
        )
        self.scale = nn.Parameter(self.dense.weight.data)
        self.apply(self.initialise)
        nn.init.trunc_normal_(self.dense.weight, std=0.02)
        self.dense.bias.detach().exponential_()
        self.embedding.weight.data[1].zero_()

    def initialise(self, module: nn.Module) -> None:
        if isinstance(module, nn.Linear | nn.Embedding):
            module.weight.data.normal_(mean=0.0, std=0.02)
            nn.init.normal_(module.weight.data.view(-1), std=0.02)
            nn.init.orthogonal_(module.weight)


def test_a_network_that_initialises_its_parameters_is_built_without_doing_so() -> None:
    network = build_on_meta(Initialised)
    assert all(parameter.is_meta for parameter in network.parameters())
    state = Initialised().state_dict()
    network.load_state_dict(state, assign=True)
    assert all(torch.equal(value, state[name]) for name, value in network.state_dict().items())
    assert left_on_meta(network) == []
    assert [type(parameter) for parameter in network.parameters()] == [nn.Parameter] * len(list(network.parameters()))


def test_layers_that_are_copied_stay_layers_of_their_own() -> None:
    first, second = build_on_meta(Initialised).layers.layers
    assert first.linear1.weight is not second.linear1.weight
    assert first.linear1.weight.requires_grad


def test_initialising_imports_nothing() -> None:
    """For random numbers on the meta device torch would import its compiler, which takes longer than all the rest of a load."""
    code = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r})\n"
        "from tests.engines.pytorch.test_construction import Initialised, build_on_meta\n"
        "known = set(sys.modules); build_on_meta(Initialised); print(len(set(sys.modules) - known))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    # The compiler is hundreds of modules.
    assert int(done.stdout) < 20
