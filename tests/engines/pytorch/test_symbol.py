"""SymbolBlock: what it computes and says of itself, its inputs and outputs, and where it is cut."""

from __future__ import annotations

import copy
import inspect
import warnings
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch: pip install zoo-pytorch")

from torch import Tensor, nn  # noqa: E402
from zoo_pytorch import SymbolBlock, aten, factories  # noqa: E402
from zoo_pytorch.engine import PyTorchEngine  # noqa: E402

import zoo_core as zoo  # noqa: E402
from tests.engines.pytorch.kinds import kind_of_program  # noqa: E402
from tests.engines.pytorch.symbolic import (  # noqa: E402
    Backbone,
    backbone,
    combined,
    engine_file,
    export,
    full,
    pictures,
    pt2,
    scripted,
    seeded,
    symbol,
    torch_file,
    torchscript,
    traced,
)

ENGINE = PyTorchEngine()


# What it computes and says ---------------------------------------------------------------------------------------------


def test_it_computes_what_the_module_computes_bit_for_bit(kind: str) -> None:
    module = seeded(Backbone())
    x = pictures(1, count=4)
    assert torch.equal(symbol(kind, module, pictures())(x), module(x))


def test_it_says_what_it_holds(kind: str) -> None:
    block = backbone(kind)
    assert block.kind == kind_of_program(kind)
    assert block.mode == ("follows train() and eval()" if kind in ("torch.aten", "scripted") else "fixed when it was made")
    assert repr(block).startswith(f"SymbolBlock({block.kind}, 145 parameters, ")
    assert list(block.signature.parameters) == ["x"]
    assert block.zoo_factory == factories.Symbol()
    assert repr(SymbolBlock()) == "SymbolBlock(empty)"


def test_its_weights_are_ordinary_parameters_of_the_tree(kind: str) -> None:
    net = full(kind)
    names = dict(net.named_parameters())
    assert isinstance(names["1.0.program.conv.weight"], nn.Parameter)
    assert names["1.0.program.conv.weight"] is net[1][0].program.conv.weight
    assert net.state_dict()["1.0._extra_state"].dtype == torch.uint8


def test_a_program_has_no_weights_inside(kind: str) -> None:
    module = seeded(nn.Linear(500, 500))
    assert len(symbol(kind, module, torch.ones(2, 500)).get_extra_state()) < 30_000


@pytest.mark.parametrize("kind", ["torch.export", "traced", "scripted"])
def test_a_program_does_not_name_the_files_of_its_author(kind: str) -> None:
    content = bytes(backbone(kind).get_extra_state().numpy())
    assert b"symbolic.py" not in content
    assert str(Path(torch.__file__).parent).encode() not in content


def test_the_program_is_the_same_after_training_and_weights_are_not_in_it(kind: str) -> None:
    block = backbone(kind)
    before = block.get_extra_state().clone()
    with torch.no_grad():
        for parameter in block.parameters():
            parameter.add_(1)
    assert torch.equal(block.get_extra_state(), before)


def test_an_empty_holder_says_that_it_is_empty() -> None:
    with pytest.raises(zoo.ParameterError, match="SymbolBlock is empty: load parameters first"):
        nn.Sequential(SymbolBlock())(torch.ones(1))


def test_what_is_no_program_is_refused_with_what_to_do() -> None:
    with pytest.raises(zoo.InputError, match=r"Linear is code and no program: give torch\.export\.export"):
        SymbolBlock.from_program(nn.Linear(1, 1))  # type: ignore[arg-type]
    with pytest.raises(zoo.InputError, match="this is int"):
        SymbolBlock.from_program(3)  # type: ignore[arg-type]


def test_a_program_that_aten_cannot_express_is_kept_as_torch_export() -> None:
    class Branches(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(3, 3)

        def forward(self, x: Tensor) -> Tensor:
            y: Tensor = torch.cond(x.sum() > 0, lambda v: self.fc(v) + 1, lambda v: v - 1, (x,))
            return y

    module = Branches()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.export.export(module, (torch.ones(2, 3),))
    with pytest.raises(aten.NotExpressible) as found:
        aten.write_program(program)
    block = SymbolBlock.from_program(program)
    assert block.kind == "torch.export"
    assert block.kind_reason == str(found.value)
    assert "cond" in block.kind_reason
    assert repr(block).endswith(f"not torch.aten: {found.value})")
    assert copy.deepcopy(block).kind_reason == SymbolBlock.from_program(pt2(program)).kind_reason == block.kind_reason
    other = SymbolBlock()
    other.load_state_dict(torch_file(block))
    for x in (torch.ones(2, 3), -torch.ones(2, 3)):
        assert torch.equal(other(x), module(x))


def test_constants_that_ask_for_gradients_are_constants_without_a_warning() -> None:
    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(3, 3)
            self.scale = self.again = torch.tensor([1.0, 2.0, 3.0], requires_grad=True)

        def forward(self, x: Tensor) -> Tensor:
            y: Tensor = self.fc(x) * self.scale + self.again
            return y

    module, x = seeded(Scaled()), torch.ones(2, 3)
    block = symbol("torch.export", module, x)
    assert [name for name, _ in block.named_parameters()] == ["program.fc.weight", "program.fc.bias"]
    assert torch.equal(block(x), module(x))


def test_files_of_every_kind_are_programs_too(tmp_path: Path) -> None:
    module, x = seeded(Backbone()), pictures(1)
    files = {
        "exported.pt2": pt2(export(module, pictures())),
        "scripted.pt": torchscript(scripted(module)),
        "traced.pt": torchscript(traced(module, pictures())),
    }
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
        for given in (tmp_path / name, str(tmp_path / name), content):
            block = SymbolBlock.from_program(given)
            assert block.kind == ("torch.aten" if name.endswith(".pt2") else "torchscript")
            assert torch.equal(block(x), module(x))
        assert ENGINE.reads(tmp_path / name)


def test_a_frozen_network_says_what_stays_inside() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        frozen = torch.jit.freeze(scripted(seeded(Backbone())))
    block = SymbolBlock.from_program(frozen)
    # The batch norm went into the convolution.
    assert (block.constants_bytes, list(block.parameters())) == (564, [])
    assert repr(block) == "SymbolBlock(torchscript, 0 parameters, 564 B of constants inside, mode: fixed when it was made)"
    other = SymbolBlock()
    other.load_state_dict(torch_file(block))
    other.train().eval()
    assert torch.equal(other(pictures(1)), frozen(pictures(1)))
    with pytest.raises(zoo.ParameterError, match="constant %"):
        other.half()


# Inputs, outputs, cutting ----------------------------------------------------------------------------------------------


class TwoInputs(nn.Module):
    def forward(self, a: Tensor, b: Tensor) -> dict[str, Tensor]:
        return {"difference": a - b, "sum": a + b}


def test_inputs_go_by_the_names_that_the_program_has(kind: str) -> None:
    block = symbol(kind, TwoInputs(), torch.ones(2, 1), torch.ones(2, 1)) if kind != "traced" else None
    if block is None:
        pytest.skip("torch.jit.trace takes no dictionaries as outputs")
    arrays = {"b": torch.ones(2, 1).numpy(), "a": torch.full((2, 1), 5.0).numpy()}
    found = ENGINE.forward(block, arrays)
    assert {name: value.tolist() for name, value in found.items()} == {"difference": [[4.0]] * 2, "sum": [[6.0]] * 2}
    assert isinstance(block.signature, inspect.Signature)


@pytest.mark.parametrize("kind", ["torch.aten", "torch.export"])
def test_a_classifier_becomes_a_backbone(kind: str) -> None:
    module = seeded(Backbone())
    block = symbol(kind, module, pictures())
    assert block.outputs[-1] == "linear"
    features = block.remove_last_block()
    assert features.outputs[-1] == "mul"
    assert torch.equal(features(pictures(1)), module.features(pictures(1)))
    assert "program.fc.weight" not in features.state_dict()
    assert features.program.conv.weight is block.program.conv.weight
    assert torch.equal(block(pictures(1)), module(pictures(1)))
    found = nn.Sequential(SymbolBlock(), nn.Linear(4, 2))
    ENGINE.load_parameters(found, engine_file(nn.Sequential(features, nn.Linear(4, 2))))
    assert torch.equal(found.eval()[0](pictures(1)), module.features(pictures(1)))


def test_a_program_ends_at_a_named_result() -> None:
    module = seeded(Backbone())
    program = export(module, pictures())
    block = SymbolBlock.from_program(program, output="batch_norm")
    assert torch.equal(block(pictures(1)), module.norm(module.conv(pictures(1))))
    assert [name for name, _ in block.named_parameters()] == [
        "program.conv.weight",
        "program.conv.bias",
        "program.norm.weight",
        "program.norm.bias",
    ]
    with pytest.raises(zoo.InputError, match=r"'batch_nrom' \(did you mean batch_norm\?\)"):
        SymbolBlock.from_program(program, output="batch_nrom")


def test_a_result_is_what_it_was_before_it_was_overwritten() -> None:
    class InPlace(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(3, 3)

        def forward(self, x: Tensor) -> Tensor:
            y = self.fc(x)
            z = y * 2
            z.add_(1)
            return z.relu_() + y

    module, x = seeded(InPlace()), torch.ones(2, 3)
    block = symbol("torch.export", module, x)
    archive = block.outputs
    assert torch.equal(symbol("torch.export", module, x)(x), module(x))
    content = bytes(block.get_extra_state().numpy())
    cut = block._held().cut("add_")
    assert torch.equal(cut.network(x), module.fc(x) * 2 + 1)
    assert torch.equal(block._held().cut("mul").network(x), module.fc(x) * 2)
    assert archive == block.outputs
    assert bytes(block.get_extra_state().numpy()) == content


@pytest.mark.parametrize("kind", ["traced", "scripted"])
def test_an_error_of_torchscript_is_one_line_that_tells_what_was_wrong(kind: str) -> None:
    block = symbol(kind, seeded(nn.Linear(3, 2)), torch.ones(2, 3))
    with pytest.raises(zoo.InputError, match=r"^SymbolBlock cannot run on x int64\[1, 3\]: RuntimeError: .*dtype") as found:
        ENGINE.forward(block, {"x": torch.ones(1, 3, dtype=torch.int64).numpy()})
    assert "interpreter" not in str(found.value)
    assert len(str(found.value).splitlines()) == 1


def test_an_error_of_any_network_is_one_line_of_bounded_length() -> None:
    class Wordy(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            raise ValueError("first\n  second\n" + "third " * 1000)

    with pytest.raises(zoo.InputError, match=r"Wordy cannot run on x float32\[1\]: first second third ") as found:
        ENGINE.forward(Wordy(), {"x": torch.ones(1).numpy()})
    assert len(str(found.value)) < 500


@pytest.mark.parametrize("kind", ["traced", "scripted"])
def test_torchscript_says_how_to_cut_instead(kind: str) -> None:
    block = backbone(kind)
    assert block.outputs == ()
    with pytest.raises(zoo.InputError, match=r"export the network with torch\.export\.export instead"):
        block.remove_last_block()


def test_no_warning_of_torchscript_reaches_its_user(kind: str) -> None:
    content = engine_file(full(kind))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        net = combined(SymbolBlock())
        ENGINE.load_parameters(net, content)
        net(pictures())
        copy.deepcopy(net)
        repr(net)
        engine_file(net)
