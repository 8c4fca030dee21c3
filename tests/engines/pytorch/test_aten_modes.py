"""A network of the kind torch.aten trains, switches its mode, is copied, compiled, converted and moved as the original is."""

from __future__ import annotations

import copy
import warnings
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch: pip install zoo-pytorch")

import torch.nn.functional as F  # noqa: E402
from torch import Tensor, nn  # noqa: E402
from zoo_pytorch import aten  # noqa: E402

import zoo_core as zoo  # noqa: E402
from tests.engines.pytorch.test_aten import (  # noqa: E402
    FREE,
    Buffers,
    Convolutional,
    Lambda,
    Recurrent,
    Tied,
    equal,
    export,
    recovered,
    same_state,
    seeded,
)


def test_a_decomposed_program_trains_as_its_module_does() -> None:
    torch.manual_seed(0)
    module, x = Convolutional().train(), torch.randn(2, 3, 8, 8)
    for mode in (True, False):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            exported = export(module.train(mode), x).run_decompositions()
        network = recovered(module.eval(), aten.write_program(exported))

        torch.testing.assert_close(network(x), module(x), rtol=1e-5, atol=1e-6)
        network.train()(x), module.train()(x)
        for name, value in module.named_buffers():
            torch.testing.assert_close(network.get_buffer(name), value, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "mode", [pytest.param(True, id="exported in training"), pytest.param(False, id="exported in evaluation")]
)
def test_two_steps_of_training_give_the_original_weights_and_statistics(mode: bool) -> None:
    torch.manual_seed(0)
    module = Convolutional().train(mode)
    content = aten.write_program(export(module, torch.randn(2, 3, 8, 8), free={"x": {0: FREE}}))
    network = recovered(module.train(), content)
    batches = [(torch.randn(4, 3, 8, 8), torch.randint(0, 5, (4,))) for _ in range(2)]

    for one in (module, network):
        torch.manual_seed(1)
        optimizer = torch.optim.SGD(one.parameters(), 0.1, momentum=0.9)
        for x, labels in batches:
            optimizer.zero_grad()
            F.cross_entropy(one(x), labels).backward()
            optimizer.step()

    assert same_state(network, module)
    assert int(network.norm.num_batches_tracked) == 2
    assert equal(network.eval()(batches[0][0]), module.eval()(batches[0][0]))


def test_a_frozen_batch_norm_stays_frozen_and_a_dropout_that_is_always_on_stays_on() -> None:
    torch.manual_seed(0)
    frozen, x = Convolutional().train(), torch.randn(2, 3, 8, 8)
    frozen.norm.eval()
    content = aten.write_program(export(frozen, x))
    network = recovered(frozen, content)
    assert equal(seeded(network, x), seeded(frozen, x))
    assert same_state(network, frozen)

    always = Lambda(lambda self, x: F.dropout(self.norm(x)), norm=nn.BatchNorm2d(3)).eval()
    network = recovered(always, aten.write_program(export(always, x)))
    for mode in (False, True):
        assert equal(seeded(network.train(mode), x), seeded(always.train(mode), x))


def test_dropout_inside_attention_follows_the_mode_where_it_was_exported_in_training() -> None:
    def function(self: nn.Module, x: Tensor) -> Tensor:
        return F.scaled_dot_product_attention(x, x, x, dropout_p=0.5 if self.training else 0.0)

    module, x = Lambda(function).train(), torch.randn(2, 2, 5, 4)
    network = aten.read_program(aten.write_program(export(module, x)))

    for mode in (True, False):
        assert equal(seeded(network.train(mode), x), seeded(module.train(mode), x))


def test_the_flag_alone_switches_the_mode() -> None:
    """Predictions borrow a module's mode by its flag, without a call of ``eval()``."""
    module, x = Convolutional().train(), torch.randn(2, 3, 8, 8)
    network = recovered(module, aten.write_program(export(module, x)))
    network.training = False

    assert equal(network(x), module.eval()(x))
    assert int(network.norm.num_batches_tracked) == 0


def test_a_copy_is_another_network_of_the_same_kind() -> None:
    module, x = Buffers(), torch.randn(5, 3)
    network = recovered(module, aten.write_program(export(module, x)))

    copied = copy.deepcopy(network)

    assert isinstance(copied, aten.AtenNetwork)
    assert list(copied.state_dict()) == list(network.state_dict())
    assert equal(copied(x), module(x))
    assert int(copied.calls) == 1
    assert int(network.calls) == 0
    assert aten.facts_of(copied).outputs == aten.facts_of(network).outputs


def test_tied_weights_stay_tied_in_a_copy() -> None:
    network = aten.read_program(aten.write_program(export(Tied(), torch.tensor([1]))))

    assert network.embed.weight is network.decode.weight
    copied = copy.deepcopy(network)
    assert copied.embed.weight is copied.decode.weight


def test_a_network_compiles_as_one_graph() -> None:
    module, x = Convolutional().eval(), torch.randn(2, 3, 8, 8)
    network = recovered(module, aten.write_program(export(module, x)))

    compiled = torch.compile(network, fullgraph=True, backend="aot_eager")

    for mode in (False, True):
        torch.testing.assert_close(seeded(compiled.train(mode), x), seeded(module.train(mode), x), rtol=1e-5, atol=1e-6)
    assert int(network.norm.num_batches_tracked) == 1


def test_a_network_exports_again_to_the_same_program() -> None:
    module, x = Convolutional().eval(), torch.randn(2, 3, 8, 8)
    network = recovered(module, aten.write_program(export(module, x)))

    again = recovered(module, aten.write_program(export(network, x)))

    assert equal(again(x), module(x))


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16], ids=str)
def test_a_program_without_fixed_dtypes_can_be_converted(dtype: Any) -> None:
    module, x = Convolutional().eval(), torch.randn(2, 3, 8, 8)
    network = recovered(module, aten.write_program(export(module, x)))

    assert aten.facts_of(network).fixed_dtypes == ()
    assert equal(network.to(dtype)(x.to(dtype)), module.to(dtype)(x.to(dtype)))


def test_a_program_with_fixed_dtypes_cannot_be_converted_and_says_by_which_node() -> None:
    module = Recurrent(nn.LSTM).eval()
    network = recovered(module, aten.write_program(export(module, torch.randn(2, 5, 3))))
    before = copy.deepcopy(network.state_dict())

    for convert in (network.double, network.half, lambda: nn.Sequential(network).to(torch.bfloat16)):
        with pytest.raises(
            zoo.ParameterError, match=r"cannot be converted from torch.float32 to torch.\w+: zeros, zeros_1 fixed"
        ):
            convert()

    assert equal(dict(network.state_dict()), dict(before))
    network.to("cpu").float().to(torch.float32)


def test_constants_that_are_plain_tensors_fix_the_dtype_and_buffers_follow_it() -> None:
    module, x = Buffers(), torch.randn(5, 3)
    network = aten.read_program(aten.write_program(export(module, x)))
    assert aten.facts_of(network).fixed_dtypes == ("plain", "lifted_tensor_0")

    unsaved = Lambda(lambda self, x: x * self.scale)
    unsaved.register_buffer("scale", torch.randn(3), persistent=False)
    network = aten.read_program(aten.write_program(export(unsaved, x)))
    assert equal(network.double()(x.double()), unsaved.double()(x.double()))


def test_tensors_that_a_program_makes_are_made_on_the_device_of_its_weights() -> None:
    module = Lambda(lambda self, x: self.fc(x) + torch.ones(2, device=x.device), fc=nn.Linear(3, 2))
    network = aten.read_program(aten.write_program(export(module, torch.randn(4, 3))))

    # The meta device is the one other device that every machine has.
    assert network(torch.empty(4, 3, device="meta")).is_meta
