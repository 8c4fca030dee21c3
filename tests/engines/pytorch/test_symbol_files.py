"""A network with a SymbolBlock is recovered from one file, and a load that fails changes nothing."""

from __future__ import annotations

import copy
import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch: pip install zoo-pytorch")

from torch import nn  # noqa: E402
from zoo_pytorch import SymbolBlock  # noqa: E402
from zoo_pytorch.construction import build_on_meta  # noqa: E402
from zoo_pytorch.engine import PyTorchEngine  # noqa: E402

import zoo_core as zoo  # noqa: E402
from tests.engines.pytorch.kinds import KINDS, kind_of_program  # noqa: E402
from tests.engines.pytorch.symbolic import (  # noqa: E402
    Backbone,
    assert_same_state,
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


# Saved and loaded ------------------------------------------------------------------------------------------------------


def test_one_file_recovers_a_combined_network_bit_for_bit(kind: str, tmp_path: Path) -> None:
    net = full(kind)
    path = tmp_path / "net.safetensors"
    ENGINE.save_parameters(net, path, {})
    other = build_on_meta(lambda: combined(SymbolBlock()))

    ENGINE.load_parameters(other, path)

    assert_same_state(other, net)
    assert torch.equal(other(pictures(1)), net(pictures(1)))
    header = json.loads(zoo.read_parameters(path).header["zoo.programs"])
    assert header == {"1.0._extra_state": {"kind": kind_of_program(kind), "sha256": header["1.0._extra_state"]["sha256"]}}
    assert zoo.read_parameters(path).programs["1.0._extra_state"].sha256 == header["1.0._extra_state"]["sha256"]
    assert ENGINE.programs(net) == {"1.0._extra_state": kind_of_program(kind)}
    assert ENGINE.reads(path)


@pytest.mark.parametrize("assign", [True, False], ids=["assign", "copy"])
def test_torchs_own_state_dict_recovers_it_strictly(kind: str, assign: bool) -> None:
    net = full(kind)
    other = combined(SymbolBlock())
    report = other.load_state_dict(torch_file(net), strict=True, assign=assign)
    assert (report.missing_keys, report.unexpected_keys) == ([], [])
    assert_same_state(other, net)
    assert torch.equal(other(pictures(1)), net(pictures(1)))
    other.load_state_dict(torch_file(net), strict=True, assign=assign)
    assert torch.equal(other(pictures(1)), net(pictures(1)))


def test_it_is_recovered_in_a_fresh_process(tmp_path: Path) -> None:
    for kind in KINDS:
        net = full(kind)
        (tmp_path / f"{kind}.safetensors").write_bytes(engine_file(net))
        torch.save({"state": net.state_dict(), "x": pictures(1), "y": net(pictures(1))}, tmp_path / f"{kind}.pth")
    code = f"""
import warnings
warnings.simplefilter("error")
import sys
from pathlib import Path
import zoo_pytorch
assert "torch" not in sys.modules
import torch
from torch import nn
from zoo_pytorch.engine import PyTorchEngine

def empty():
    return nn.Sequential(nn.Conv2d(3, 3, 1), nn.Sequential(zoo_pytorch.SymbolBlock(), nn.ReLU()), nn.Linear(5, 2)).eval()

for kind in {KINDS}:
    path = Path(r"{tmp_path}", kind)
    saved = torch.load(f"{{path}}.pth", weights_only=True)
    one, other = empty(), empty()
    one.load_state_dict(saved["state"], assign=True)
    PyTorchEngine().load_parameters(other, Path(f"{{path}}.safetensors"))
    assert torch.equal(one(saved["x"]), saved["y"]) and torch.equal(other(saved["x"]), saved["y"]), kind
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")


def test_it_is_fine_tuned_and_saved_again(kind: str) -> None:
    """Gradients flow through the program into layers on both sides, an optimizer moves every weight of it."""
    net = combined(SymbolBlock())
    ENGINE.load_parameters(net, engine_file(full(kind)))
    before = {name: value.clone() for name, value in net.state_dict().items()}
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    net.train()
    for seed in range(2):
        optimizer.zero_grad()
        net(pictures(seed)).square().sum().backward()
        optimizer.step()
    net.eval()
    moved = {name for name, value in net.state_dict().items() if not torch.equal(value, before[name])}
    assert {name for name, _ in net.named_parameters()} <= moved
    assert "1.0._extra_state" not in moved
    for content in (engine_file(net), torch_file(net)):
        other = combined(SymbolBlock())
        if isinstance(content, bytes):
            ENGINE.load_parameters(other, content)
        else:
            other.load_state_dict(content)
        assert_same_state(other, net)
        assert torch.equal(other(pictures(3)), net(pictures(3)))


def test_training_mode_updates_running_statistics_where_the_program_follows_the_mode() -> None:
    for kind in ("torch.aten", "scripted"):
        net, module = backbone(kind), seeded(Backbone())
        for each in (net, module):
            each.train()
            torch.manual_seed(0)
            each(pictures(1))
            each.eval()
        assert torch.equal(net.program.norm.running_mean, module.norm.running_mean)
        assert net.program.norm.num_batches_tracked == 1


def test_mode_never_raises_for_a_block_or_its_parents(kind: str) -> None:
    net = full(kind)
    y = net(pictures(1))
    for each in (net, net[1], net[1][0]):
        each.train()
        assert each.training
        each.eval()
        assert not each.training
    assert torch.equal(net(pictures(1)), y)


def test_parameters_of_a_program_are_mapped_from_the_file(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    path.write_bytes(engine_file(full(kind)))
    content = path.read_bytes()
    net = build_on_meta(lambda: combined(SymbolBlock()))
    ENGINE.load_parameters(net, path)
    addresses = [parameter.data_ptr() for parameter in net.parameters()]
    assert max(addresses) - min(addresses) < len(content)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.zero_()
    assert path.read_bytes() == content


def test_values_that_a_block_has_already_are_written_into(kind: str) -> None:
    net = combined(SymbolBlock())
    weight = net[0].weight
    source = full(kind)
    ENGINE.load_parameters(net, engine_file(source))
    assert net[0].weight is weight
    assert_same_state(net, source)


@pytest.mark.parametrize("kind", ["torch.export", "traced", "scripted"])
def test_a_file_that_is_a_program_fills_a_bare_holder(kind: str, tmp_path: Path) -> None:
    module = seeded(Backbone())
    path = tmp_path / "program"
    program = (
        export(module, pictures())
        if kind == "torch.export"
        else (scripted(module) if kind == "scripted" else traced(module, pictures()))
    )
    path.write_bytes(pt2(program) if isinstance(program, torch.export.ExportedProgram) else torchscript(program))
    block = SymbolBlock()
    report = ENGINE.load_parameters(block, path)
    assert not report
    block.eval()
    assert torch.equal(block(pictures(1)), module(pictures(1)))
    other = SymbolBlock()
    ENGINE.load_parameters(other, engine_file(block))
    assert torch.equal(other.eval()(pictures(1)), module(pictures(1)))
    bare = SymbolBlock()
    bare.load_state_dict({"_extra_state": torch.frombuffer(bytearray(path.read_bytes()), dtype=torch.uint8)})
    assert torch.equal(bare.eval()(pictures(1)), module(pictures(1)))


def test_a_file_that_is_a_program_is_a_model_without_any_factory_named(tmp_path: Path) -> None:
    module = seeded(Backbone())
    files = {
        "net.pt2": pt2(export(module, pictures())),
        "scripted.pt": torchscript(scripted(module)),
        "traced.pt": torchscript(traced(module, pictures())),
    }
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
        with zoo.load_model(model_path=tmp_path / name) as model, model.new_predictor() as predictor:
            assert isinstance(model.block, SymbolBlock)
            assert torch.equal(torch.from_numpy(predictor.predict(pictures(1).numpy())), module(pictures(1)))


def test_a_saved_symbol_block_proves_itself(kind: str, tmp_path: Path) -> None:
    zoo.Model(backbone(kind)).save(tmp_path / "net.safetensors", golden=pictures(1).numpy())
    with zoo.load_model(model_path=tmp_path / "net.safetensors") as model:
        assert [output.max_abs for output in model.check().outputs] == [0.0]
        assert ENGINE.programs(model.block) == {"_extra_state": kind_of_program(kind)}


def test_predictions_are_made_in_evaluation_mode(kind: str) -> None:
    net = full(kind)
    y = net(pictures(1))
    found = ENGINE.forward(net.train(), {"x": pictures(1).numpy()})
    assert torch.equal(torch.from_numpy(found["output"]), y)
    assert net[1][0].training


def test_another_program_replaces_the_one_that_a_block_has(kind: str) -> None:
    block = symbol("torch.aten", seeded(nn.Linear(3, 2)), torch.ones(2, 3))
    ENGINE.load_parameters(block, engine_file(backbone(kind)))
    assert torch.equal(block.eval()(pictures(1)), seeded(Backbone())(pictures(1)))


def test_the_same_program_keeps_its_parameter_objects(kind: str) -> None:
    net = full(kind)
    other = copy.deepcopy(net)
    weight = net[1][0].program.fc.weight
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.add_(1)
    ENGINE.load_parameters(net, engine_file(other))
    assert net[1][0].program.fc.weight is weight
    assert_same_state(net, other)


# Failures --------------------------------------------------------------------------------------------------------------


def holds(net: nn.Module) -> dict[str, Any]:
    return {name: (value.device, value.clone()) for name, value in net.state_dict().items()}


@pytest.mark.parametrize("fault", ["missing", "unexpected", "mismatched"])
@pytest.mark.parametrize("filled", [False, True], ids=["empty holder", "another program"])
def test_a_failed_strict_load_leaves_holders_as_they_were(kind: str, fault: str, filled: bool) -> None:
    stream = io.BytesIO()
    source = full(kind)
    ENGINE.save_parameters(
        source if fault != "unexpected" else nn.ModuleDict({**dict(source.named_children()), "x": nn.Linear(1, 1)}), stream, {}
    )
    net = combined(backbone("torch.aten") if filled else SymbolBlock())
    if filled:
        net[1][0] = symbol("torch.aten", seeded(nn.Linear(3, 2)), torch.ones(2, 3))
    if fault == "missing":
        net.add_module("head", nn.Linear(1, 1))
    if fault == "mismatched":
        net[2] = nn.Linear(5, 3)
    before = holds(net)

    with pytest.raises(zoo.ParameterError):
        ENGINE.load_parameters(net, stream.getvalue())

    after = holds(net)
    assert list(after) == list(before)
    assert all(torch.equal(after[name][1], before[name][1]) for name in before)
    assert net[1][0].kind == ("torch.aten" if filled else "")


def test_a_holder_without_a_program_in_the_file_is_missing() -> None:
    content = engine_file(combined(nn.Flatten()))
    with pytest.raises(zoo.ParameterError, match=r"missing in the file: 1\.0\._extra_state"):
        ENGINE.load_parameters(combined(SymbolBlock()), content)
    report = ENGINE.load_parameters(combined(SymbolBlock()), content, strict=False)
    assert report.missing == ("1.0._extra_state",)


def test_not_strict_loads_a_program_without_some_of_the_rest(kind: str) -> None:
    source = full(kind)
    net = combined(SymbolBlock())
    net[2] = nn.Linear(5, 3)
    report = ENGINE.load_parameters(net, engine_file(source), strict=False)
    assert [text.partition(" ")[0] for text in report.mismatched] == ["2.bias", "2.weight"]
    assert torch.equal(net[1](net[0](pictures(1))), source[1](source[0](pictures(1))))


def test_a_weight_of_the_program_that_no_file_has_is_named() -> None:
    state = full("torch.aten").state_dict()
    del state["1.0.program.fc.bias"]
    stream = io.BytesIO()
    torch.save(state, stream)
    with pytest.raises(zoo.ParameterError, match=r"missing in the file: 1\.0\.program\.fc\.bias"):
        ENGINE.load_parameters(combined(SymbolBlock()), stream.getvalue())
    with pytest.raises(zoo.ParameterError, match=r"1\.0\.program\.fc\.bias of Sequential got no value: .* lacks it") as found:
        ENGINE.load_parameters(combined(SymbolBlock()), stream.getvalue(), strict=False)
    assert found.value.missing == ("1.0.program.fc.bias",)
    assert "computed" not in str(found.value)


def test_an_empty_holder_is_not_saved_by_the_engine_and_stays_empty_in_a_state_dict() -> None:
    with pytest.raises(zoo.ParameterError, match=r"without a program yet: 1\.0\._extra_state\. Load parameters first"):
        engine_file(combined(SymbolBlock()))
    state = torch_file(combined(SymbolBlock()))
    combined(SymbolBlock()).load_state_dict(state, strict=True)
    with pytest.raises(zoo.ParameterError, match="saved from an empty SymbolBlock"):
        full("torch.aten").load_state_dict(state)


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        (torch.ones(3), r"uint8\[bytes\]; found torch.float32\[3\]"),
        (torch.ones(3, dtype=torch.uint8), "this one is unknown"),
        ({"a": 1}, "found dict"),
    ],
    ids=["floats", "no program", "no tensor"],
)
def test_a_state_that_is_no_program_is_refused(state: Any, reason: str) -> None:
    with pytest.raises(zoo.ParameterError, match=reason):
        SymbolBlock().set_extra_state(state)


@pytest.mark.parametrize("kind", ["torch.export", "traced", "scripted"])
def test_a_file_that_is_data_brings_no_other_program(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a file's inspection missed, no holder takes it."""
    content = engine_file(full(kind))
    monkeypatch.setattr(zoo.ParameterFile, "is_data", True)
    net = combined(SymbolBlock())
    with pytest.raises(zoo.ParameterError, match="the file that is loaded was taken for data"):
        ENGINE.load_parameters(net, content)
    assert net[1][0].kind == ""
