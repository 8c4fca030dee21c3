"""A program of the kind torch.aten is cut at a named result, and what this does not need is left out."""

from __future__ import annotations

import copy
import warnings
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch: pip install zoo-pytorch")

from torch import Tensor, nn  # noqa: E402
from zoo_pytorch import aten  # noqa: E402
from zoo_pytorch.aten.document import read_document  # noqa: E402
from zoo_pytorch.networks.resnet import ResNet  # noqa: E402

import zoo_core as zoo  # noqa: E402


class Classifier(nn.Module):
    """Features, written to in place afterwards, two heads, and a branch of its own with buffers."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.norm = nn.BatchNorm2d(4)
        self.side = nn.BatchNorm1d(4)
        self.head = nn.Linear(4, 2)
        self.register_buffer("calls", torch.zeros(()))
        self.register_buffer("offset", torch.ones(4), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        features = self.norm(self.conv(x))
        side = self.side(features.mean((2, 3)))
        self.calls += 1
        features = torch.relu_(features).amax((2, 3)) + self.offset
        return self.head(torch.relu(features + side))


def write(module: nn.Module, *inputs: Tensor) -> bytes:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return aten.write_program(torch.export.export(module, inputs))


def filled(module: nn.Module, content: bytes) -> Any:
    network = aten.read_program(content)
    state = copy.deepcopy(module.state_dict())
    network.load_state_dict({name: state[name] for name in network.state_dict()}, assign=True)
    return network.train(module.training)


@pytest.fixture(scope="module")
def module() -> nn.Module:
    torch.manual_seed(0)
    return Classifier().eval()


@pytest.fixture(scope="module")
def content(module: nn.Module) -> bytes:
    return write(module, torch.ones(2, 3, 6, 6))


def outputs(content: bytes) -> tuple[str, ...]:
    return aten.facts_of(aten.read_program(content)).outputs


def test_outputs_are_the_results_in_order_and_the_output_is_last(content: bytes) -> None:
    names = outputs(content)

    assert names[:2] == ("conv2d", "batch_norm")
    assert names[-1] == "linear"


def test_a_cut_program_gives_the_result_of_that_name_as_it_was_then(module: Any, content: bytes) -> None:
    x = torch.randn(2, 3, 6, 6)
    cut = aten.cut_program(content, "batch_norm")

    # A later node writes to this very tensor.
    assert torch.equal(filled(module, cut)(x), module.norm(module.conv(x)))
    assert outputs(cut) == ("conv2d", "batch_norm")


def test_what_a_cut_program_does_not_need_is_left_out(content: bytes) -> None:
    cut = aten.cut_program(content, "batch_norm")

    assert set(aten.read_program(cut).state_dict()) == {
        *("conv.weight", "conv.bias", "norm.weight", "norm.bias"),
        *("norm.running_mean", "norm.running_var", "norm.num_batches_tracked"),
    }
    assert not read_document(cut).constants
    assert len(cut) < len(content)


def test_a_cut_program_still_follows_the_mode(module: Any, content: bytes) -> None:
    x = torch.randn(2, 3, 6, 6)
    network = filled(module, aten.cut_program(content, "batch_norm")).train()
    original = copy.deepcopy(module).train()

    assert torch.equal(network(x), original.norm(original.conv(x)))
    assert torch.equal(network.norm.running_var, original.norm.running_var)
    assert int(network.norm.num_batches_tracked) == 1


def test_a_buffer_that_is_read_is_still_written_after_a_cut() -> None:
    class Counting(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("calls", torch.zeros(()))

        def forward(self, x: Tensor) -> Tensor:
            self.calls += 1
            return torch.relu(x * self.calls)

    network = filled(Counting(), aten.cut_program(write(Counting(), torch.ones(2)), "mul"))

    assert [network(torch.ones(1).expand(2)).tolist() for _ in range(2)] == [[1, 1], [2, 2]]


def test_the_last_block_of_a_classifier_is_removed(module: Any, content: bytes) -> None:
    x = torch.randn(2, 3, 6, 6)
    features: list[Tensor] = []
    hook = module.head.register_forward_pre_hook(lambda _, inputs: features.append(inputs[0]))
    module(x)
    hook.remove()

    found = filled(module, aten.without_last_block(content))(x)

    assert torch.equal(found, features[0])
    assert "head.weight" not in aten.read_program(aten.without_last_block(content)).state_dict()


def test_the_last_block_of_a_resnet_leaves_its_features() -> None:
    torch.manual_seed(0)
    module = ResNet(18, 5).eval()
    x = torch.randn(1, 3, 32, 32)
    content = write(module, x)

    features = filled(module, aten.without_last_block(content))(x)

    module.fc = nn.Identity()
    assert features.shape == (1, 512)
    assert torch.equal(features, module(x))


def test_blocks_are_removed_one_after_another_until_none_is_before(content: bytes) -> None:
    names = []
    for _ in range(20):
        try:
            content = aten.without_last_block(content)
        except zoo.InputError as error:
            assert "nothing is before it" in str(error)  # noqa: PT017  # where it ends is what is tested
            break
        names.append(outputs(content)[-1])

    assert names[0] == "relu"
    assert names[-1] == "conv2d"


def test_the_last_block_may_give_several_results() -> None:
    class Recurrent(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(3, 4)
            self.lstm = nn.LSTM(4, 5)

        def forward(self, x: Tensor) -> Tensor:
            return self.lstm(self.fc(x))[0]

    module, x = Recurrent().eval(), torch.randn(2, 1, 3)

    assert torch.equal(filled(module, aten.without_last_block(write(module, x)))(x), module.fc(x))


def test_an_unknown_name_is_refused_with_near_ones(content: bytes) -> None:
    with pytest.raises(zoo.InputError, match=r"no output is named 'batchnorm' \(did you mean batch_norm"):
        aten.cut_program(content, "batchnorm")
    with pytest.raises(zoo.InputError, match=r"no output is named 'x'"):
        aten.cut_program(content, "x")


def test_a_program_of_several_outputs_has_no_last_block() -> None:
    class Two(nn.Module):
        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            return x + 1, x + 2

    content = write(Two(), torch.ones(2))

    assert outputs(content) == ("add", "add_1")
    with pytest.raises(zoo.InputError, match="where the output is one computed tensor; cut at a name"):
        aten.without_last_block(content)
    assert outputs(aten.cut_program(content, "add")) == ("add",)
