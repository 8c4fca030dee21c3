"""The graph of a network says what the network computes, though its nodes are made when somebody looks."""

from __future__ import annotations

import json
import threading
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch: pip install zoo-pytorch")

from torch import Tensor, fx, nn  # noqa: E402
from zoo_pytorch import aten  # noqa: E402


class Everything(nn.Module):
    """Batch norm, dropout, sizes, tensors made on the device, a constant, several outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.Dropout(0.5))
        self.head = nn.Linear(4, 2)
        self.register_buffer("scale", torch.tensor([1.0, 2.0]), persistent=False)

    def forward(self, x: Tensor) -> Any:
        y = self.head(self.layers(x).mean((2, 3))) * self.scale
        return {"y": y, "places": torch.arange(x.shape[0]) * 2 - 3, "low": (y.max(1)[0], float("-inf") * torch.ones(1))}


def network() -> Any:
    torch.manual_seed(0)
    module = Everything()
    free = ({0: torch.export.Dim.AUTO},)
    found = aten.read_program(aten.write_program(torch.export.export(module, (torch.rand(2, 3, 5, 5),), dynamic_shapes=free)))
    found.load_state_dict(module.state_dict(), assign=True)
    return found


def flat(outputs: Any) -> list[Tensor]:
    return list(torch.utils._pytree.tree_leaves(outputs))


def seeded(network: Any, x: Tensor) -> list[Tensor]:
    torch.manual_seed(1)
    return flat(network(x))


@pytest.mark.parametrize("mode", [False, True], ids=["eval", "train"])
def test_what_fx_writes_of_the_nodes_computes_the_same_as_what_is_written_of_the_program(mode: bool) -> None:
    ours, theirs, x = network().train(mode), network().train(mode), torch.rand(3, 3, 5, 5)
    before = theirs.code
    assert len(theirs.graph.nodes) > 10
    theirs.recompile()
    assert theirs.code != before
    for found, expected in zip(seeded(ours, x), seeded(theirs, x), strict=True):
        assert torch.equal(found, expected)
    for name, value in ours.state_dict().items():
        assert torch.equal(value, theirs.state_dict()[name]), name


def test_a_graph_can_be_changed_as_any_other_of_fx() -> None:
    found, x = network().eval(), torch.rand(1, 3, 5, 5)
    expected = found(x)
    graph = found.graph
    (multiplied,) = (node for node in graph.nodes if node.target is torch.ops.aten.mul.Tensor and "scale" in str(node.args))
    multiplied.replace_all_uses_with(multiplied.args[0])
    graph.erase_node(multiplied)
    graph.lint()
    found.recompile()
    assert torch.equal(found(x)["y"], expected["y"] / torch.tensor([1.0, 2.0]))
    assert all(node.graph is graph for node in graph.nodes)
    assert graph.owning_module is found


def test_a_graph_is_walked_by_an_interpreter_and_printed() -> None:
    found, x = network().eval(), torch.rand(1, 3, 5, 5)
    for one, other in zip(flat(fx.Interpreter(found).run(x)), flat(found(x)), strict=True):
        assert torch.equal(one, other)
    assert "torch.ops.aten.conv2d.default" in found.print_readable(print_output=False)


def test_threads_that_look_at_once_see_one_graph() -> None:
    graph = network().graph
    barrier, seen = threading.Barrier(4), []

    def look() -> None:
        barrier.wait()
        seen.append([id(node) for node in graph.nodes])

    threads = [threading.Thread(target=look) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(nodes == seen[0] for nodes in seen)
    with pytest.raises(AttributeError, match="no_such_thing"):
        _ = graph.no_such_thing


def test_names_that_the_source_could_confuse_are_names_of_results_and_nothing_else() -> None:
    """A result may be called like a builtin, a module, or what fx writes for a number."""
    nodes = [
        ["getattr", "aten::mul.Tensor", ["input", 2.0]],
        ["inf", "aten::add.Tensor", ["getattr", "getattr"]],
        ["torch", "aten::clamp", ["inf", None, {"float": "inf"}]],
        ["count_batch", "aten::to.dtype", ["torch", "float64"]],
        ["math", "aten::pow.Tensor_Scalar", ["count_batch", -1]],
        ["operator", "aten::sub.Tensor", ["math", -0.5]],
    ]
    document = {"torch.aten": 1, "inputs": {"input": "float32[*]"}, "nodes": nodes, "output": "operator"}
    found = aten.read_program(json.dumps(document, separators=(",", ":")).encode())
    x = torch.tensor([1.0, 2.0])
    assert torch.equal(found(x), (x * 4).double() ** -1 + 0.5)
    assert torch.equal(fx.Interpreter(found).run(x), found(x))


def test_a_negative_number_keeps_its_sign_beside_an_operator_of_python() -> None:
    nodes = [
        ["n", "aten::sym_size.int", ["x", 0]],
        ["d", "operator.sub", ["n", -1]],
        ["p", "operator.floordiv", [-7, "d"]],
        ["y", "aten::mul.Tensor", ["x", "p"]],
    ]
    document = {"torch.aten": 1, "inputs": {"x": "float32[*]"}, "nodes": nodes, "output": "y"}
    found = aten.read_program(json.dumps(document, separators=(",", ":")).encode())
    assert found(torch.ones(2)).tolist() == [-3.0, -3.0]


def test_a_device_is_that_of_an_input_that_nothing_else_uses() -> None:
    nodes = [["y", "aten::ones", [[2]], {"device": "@device"}]]
    document = {"torch.aten": 1, "inputs": {"x": "float32[2]"}, "nodes": nodes, "output": "y"}
    found = aten.read_program(json.dumps(document, separators=(",", ":")).encode())
    assert found(torch.rand(2, device="cpu")).tolist() == [1.0, 1.0]
