"""A SymbolBlock is a block like any other: shared, copied, pickled, converted and moved."""

from __future__ import annotations

import copy
import pickle

import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch: pip install zoo-pytorch")

import zoo_pytorch  # noqa: E402
from torch import Tensor, nn  # noqa: E402
from zoo_pytorch import SymbolBlock  # noqa: E402
from zoo_pytorch.construction import build_on_meta  # noqa: E402
from zoo_pytorch.engine import PyTorchEngine  # noqa: E402

import zoo_core as zoo  # noqa: E402
from tests.engines.pytorch.symbolic import (  # noqa: E402
    assert_same_state,
    backbone,
    combined,
    engine_file,
    full,
    pictures,
    seeded,
    symbol,
    torch_file,
)

ENGINE = PyTorchEngine()


# Trees -----------------------------------------------------------------------------------------------------------------


def test_a_program_shares_a_parameter_with_the_rest_of_the_network(kind: str) -> None:
    class Net(nn.Module):
        def __init__(self, body: SymbolBlock) -> None:
            super().__init__()
            self.body, self.head = body, nn.Linear(4, 5)

        def forward(self, x: Tensor) -> Tensor:
            y: Tensor = self.head(self.body(x)[:, :4])
            return y

    net = Net(backbone(kind)).eval()
    net.head.weight = net.body.program.fc.weight
    content = engine_file(net)
    assert zoo.read_parameters(content).aliases == {"head.weight": "body.program.fc.weight"}
    for build in (lambda: Net(SymbolBlock()), lambda: build_on_meta(lambda: Net(SymbolBlock()))):
        other = build().eval()
        ENGINE.load_parameters(other, content)
        assert other.head.weight is other.body.program.fc.weight
        assert torch.equal(other(pictures(1)), net(pictures(1)))
        assert len(list(other.parameters())) == len(list(net.parameters()))
        copied, unpickled = copy.deepcopy(other), pickle.loads(pickle.dumps(_Pair(other.body, other.head)))
        assert copied.head.weight is copied.body.program.fc.weight
        assert unpickled.two.weight is unpickled.one.program.fc.weight


class _Pair(nn.Module):
    def __init__(self, one: nn.Module, two: nn.Module) -> None:
        super().__init__()
        self.one, self.two = one, two


def test_the_same_program_twice_is_stored_once(kind: str) -> None:
    """As one block in two places, as two blocks of one program, and as two blocks with weights of their own."""
    module = seeded(nn.Linear(4, 4))
    block = symbol(kind, module, torch.ones(2, 4))
    shared = copy.deepcopy(block)
    for name, parameter in block.program.named_parameters():
        setattr(shared.program, name, parameter)
    apart = copy.deepcopy(block)
    with torch.no_grad():
        apart.program.weight.add_(1)
    x = torch.rand(3, 4)
    for other, tensors in ((block, 3), (shared, 3), (apart, 5)):
        net = nn.Sequential(block, nn.ReLU(), other)
        content = engine_file(net)
        assert len(zoo.read_parameters(content)) <= tensors
        assert zoo.read_parameters(content).aliases["2._extra_state"] == "0._extra_state"
        found = nn.Sequential(SymbolBlock(), nn.ReLU(), SymbolBlock())
        ENGINE.load_parameters(found, content)
        assert_same_state(found, net)
        assert torch.equal(found(x), net(x))
        assert (found[0].program.weight is found[2].program.weight) == (other is not apart)


def test_one_holder_in_two_places_is_one_block_after_loading(kind: str) -> None:
    block = symbol(kind, seeded(nn.Linear(4, 4)), torch.ones(2, 4))
    net = nn.Sequential(block, nn.ReLU(), block)
    holder = SymbolBlock()
    found = nn.Sequential(holder, nn.ReLU(), holder)
    ENGINE.load_parameters(found, engine_file(net))
    assert found[0] is found[2]
    assert torch.equal(found(torch.ones(2, 4)), net(torch.ones(2, 4)))
    again = nn.Sequential(holder2 := SymbolBlock(), nn.ReLU(), holder2)
    again.load_state_dict(torch_file(net))
    assert torch.equal(again(torch.ones(2, 4)), net(torch.ones(2, 4)))


def test_tied_weights_inside_a_program_stay_tied(kind: str) -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two = nn.Linear(3, 3), nn.Linear(3, 3)
            self.two.weight = self.one.weight

        def forward(self, x: Tensor) -> Tensor:
            y: Tensor = self.two(torch.relu(self.one(x)))
            return y

    module = seeded(Tied())
    block = symbol(kind, module, torch.ones(2, 3))
    found = SymbolBlock()
    ENGINE.load_parameters(found, engine_file(block))
    assert found.program.one.weight is found.program.two.weight
    assert torch.equal(found(torch.ones(2, 3)), module(torch.ones(2, 3)))
    copied = SymbolBlock()
    copied.load_state_dict(torch_file(block))
    assert torch.equal(copied(torch.ones(2, 3)), module(torch.ones(2, 3)))


def test_a_block_inside_any_module_is_copied_and_pickled(kind: str) -> None:
    net = full(kind)
    net[1][0].program.conv.bias.requires_grad_(False)
    for other in (copy.deepcopy(net), pickle.loads(pickle.dumps(net)), copy.deepcopy(combined(copy.deepcopy(net[1][0])))):
        assert other[1][0].kind == net[1][0].kind
        assert torch.equal(other[1](pictures(1)), net[1](pictures(1)))
        assert [p.requires_grad for p in other[1].parameters()] == [p.requires_grad for p in net[1].parameters()]
        assert other[1][0].program.fc.weight is not net[1][0].program.fc.weight
        with torch.no_grad():
            other[1][0].program.fc.weight.zero_()
        assert net[1][0].program.fc.weight.abs().sum() > 0
    empty = pickle.loads(pickle.dumps(copy.deepcopy(SymbolBlock())))
    assert empty.kind == ""


def test_a_copy_keeps_its_mode(kind: str) -> None:
    assert not copy.deepcopy(backbone(kind)).training
    assert copy.deepcopy(backbone(kind).train()).training


# Conversion ------------------------------------------------------------------------------------------------------------


class Plain(nn.Module):
    """Nothing in its graph names a dtype."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Linear(4, 8), nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.two(torch.relu(self.one(x)))
        return y


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_a_program_whose_graph_names_no_dtype_is_converted(kind: str, dtype: torch.dtype) -> None:
    net = nn.Sequential(symbol(kind, seeded(Plain()), torch.ones(2, 4)), nn.Linear(2, 2))
    module = nn.Sequential(seeded(Plain()), nn.Linear(2, 2))
    module[1].load_state_dict(net[1].state_dict())
    x = torch.rand(3, 4)
    assert torch.equal(net.to(dtype)(x.to(dtype)), module.to(dtype)(x.to(dtype)))
    assert net.state_dict()["0._extra_state"].dtype == torch.uint8
    found = nn.Sequential(SymbolBlock(), nn.Linear(2, 2))
    ENGINE.load_parameters(build_on_meta(lambda: found), engine_file(net))
    assert found[0].program.one.weight.dtype == dtype
    copied = nn.Sequential(SymbolBlock(), nn.Linear(2, 2).to(dtype))
    copied.load_state_dict(torch_file(net))
    for other in (found, copied):
        assert torch.equal(other.to(dtype)(x.to(dtype)), net(x.to(dtype)))


def test_the_engine_converts_while_it_loads(kind: str) -> None:
    net = nn.Sequential(symbol(kind, seeded(Plain()), torch.ones(2, 4)))
    found = build_on_meta(lambda: nn.Sequential(SymbolBlock()))
    ENGINE.load_parameters(found, engine_file(net), dtype="float64")
    assert {value.dtype for value in found.state_dict().values()} == {torch.float64, torch.uint8}


class FixedDtype(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.fc(x) + torch.zeros(4, dtype=torch.float32)
        return y


def test_a_program_whose_graph_names_a_dtype_says_the_node(kind: str) -> None:
    net = nn.Sequential(symbol(kind, seeded(FixedDtype()), torch.ones(2, 4)))
    with pytest.raises(zoo.ParameterError, match="zeros"):
        net.to(torch.float64)
    assert net[0].program.fc.weight.dtype == torch.float32
    found = build_on_meta(lambda: nn.Sequential(SymbolBlock()))
    with pytest.raises(zoo.ParameterError, match="zeros"):
        ENGINE.load_parameters(found, engine_file(net), dtype="float16")
    assert found[0].kind == ""


def test_a_refusal_inside_a_network_says_what_is_converted_already_and_how_to_ask_first(kind: str) -> None:
    net = nn.Sequential(nn.Linear(4, 4), nn.Sequential(symbol(kind, seeded(FixedDtype()), torch.ones(2, 4))), nn.Linear(4, 4))
    with pytest.raises(zoo.ParameterError, match=r"^1\.0: the program cannot be converted .*zeros"):
        zoo_pytorch.check_conversion(net, torch.float16)
    assert {value.dtype for value in net.parameters()} == {torch.float32}
    zoo_pytorch.check_conversion(net, torch.float32)
    zoo_pytorch.check_conversion(nn.Sequential(SymbolBlock(), symbol(kind, Plain(), torch.ones(2, 4))), torch.float16)
    with pytest.raises(zoo.ParameterError, match=r"zeros.*the modules before this one are converted already: load their param"):
        net.half()
    assert net[1][0].program.fc.weight.dtype == torch.float32


def test_moving_without_a_device_to_move_to_changes_nothing(kind: str) -> None:
    net = full(kind)
    y = net(pictures(1))
    assert torch.equal(net.to("cpu").to(device="cpu", dtype=torch.float32)(pictures(1)), y)


def test_operators_that_name_a_device_follow_the_weights() -> None:
    """Told of another device; what it would compute there needs that device."""
    from zoo_pytorch import exported

    block = symbol("torch.export", seeded(FixedDtype()), torch.ones(2, 4))
    assert "device(type='cpu')" in block.program.code
    exported.retarget(block.program, torch.device("meta"))
    assert "device(type='cpu')" not in block.program.code
    assert "device(type='meta')" in block.program.code


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_it_runs_on_a_gpu(kind: str) -> None:
    net = full(kind)
    y = net(pictures(1))
    assert torch.allclose(net.to("cuda")(pictures(1).cuda()).cpu(), y, rtol=1e-3, atol=1e-3)
    found = build_on_meta(lambda: combined(SymbolBlock()))
    ENGINE.load_parameters(found, engine_file(net), device=zoo.Device.parse("gpu"))
    assert torch.allclose(found.eval()(pictures(1).cuda()).cpu(), y, rtol=1e-3, atol=1e-3)
