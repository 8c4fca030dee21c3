"""One parameter file recovers a model with symbols inside: bit for bit, in a new process, or not at all."""

from __future__ import annotations

import hashlib
import io
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from zoo_core import ParameterError, read_parameters

if TYPE_CHECKING:
    from collections.abc import Callable

np = pytest.importorskip("numpy", reason="needs MXNet: pip install zoo-mxnet")
framework = pytest.importorskip("zoo_mxnet.framework", reason="needs MXNet: pip install zoo-mxnet")
make = pytest.importorskip("tests.engines.mxnet.symbolic")
safetensors_numpy = pytest.importorskip("safetensors.numpy")
mx, nn, SymbolBlock = framework.mx, framework.nn, make.SymbolBlock

RECOVER = """
import sys
import numpy as np
import zoo_mxnet
from tests.engines.mxnet import symbolic as make
for path in sys.argv[1:]:
    net = make.combined(empty=True)
    zoo_mxnet.load_parameters(net, path)
    np.save(path + ".imperative.npy", make.run(net))
    net.hybridize()
    np.save(path + ".compiled.npy", make.run(net))
"""


@pytest.fixture
def saved(engine: Any) -> Callable[..., bytes]:
    """A function that gives what the engine writes for a block."""

    def save(block: Any, **header: str) -> bytes:
        stream = io.BytesIO()
        engine.save_parameters(block, stream, header)
        return stream.getvalue()

    return save


def stored(content: bytes) -> dict[str, Any]:
    return dict(read_parameters(content).items())


def assert_same_file(found: bytes, expected: bytes) -> None:
    """The order of the header's entries aside, which safetensors draws at random."""
    assert read_parameters(found).header == read_parameters(expected).header
    make.assert_same_bits(stored(found), stored(expected))


# Round trips.


def test_a_new_process_recovers_combined_models_to_the_bit(engine: Any, tmp_path: Path) -> None:
    published, trained = make.combined(), make.combined()
    make.train(trained)
    expected = {}
    for name, net in (("published", published), ("trained", trained)):
        engine.save_parameters(net, tmp_path / f"{name}.safetensors", {})
        net.save_parameters(str(tmp_path / f"{name}.params"))
        expected |= {f"{name}.safetensors": make.run(net), f"{name}.params": make.run(net)}

    make.in_fresh_process(RECOVER, *(tmp_path / name for name in expected))

    for name, output in expected.items():
        for how in ("imperative", "compiled"):
            assert np.load(tmp_path / f"{name}.{how}.npy").tobytes() == output.tobytes(), (name, how)


def test_what_was_recovered_is_written_again_as_it_was(engine: Any, saved: Callable[..., bytes]) -> None:
    content = saved(make.combined())
    net = make.combined(empty=True)

    assert not engine.load_parameters(net, content)

    assert_same_file(saved(net), content)


def test_a_recovered_model_can_be_trained_and_the_file_does_not_change(
    engine: Any, saved: Callable[..., bytes], tmp_path: Path
) -> None:
    path, content = tmp_path / "net.safetensors", saved(make.combined())
    path.write_bytes(content)
    recovered, original = make.combined(empty=True), make.combined()
    engine.load_parameters(recovered, path)

    make.train(recovered)
    make.train(original)

    assert make.run(recovered).tobytes() == make.run(original).tobytes()
    assert path.read_bytes() == content


@pytest.mark.parametrize("by", ["engine", "package"])
def test_the_files_that_gluon_exports_fill_a_bare_holder(engine: Any, tmp_path: Path, by: str) -> None:
    path, block = make.exported(tmp_path), SymbolBlock()

    engine.load_parameters(block, path) if by == "engine" else make.zoo_mxnet.load_parameters(block, str(path))

    assert engine.reads(path)
    assert block.inputs == ("data",)
    assert make.run(block).tobytes() == make.run(make.published()).tobytes()


def test_a_layer_that_is_used_twice_may_repeat_its_names_in_an_export(engine: Any, tmp_path: Path) -> None:
    import mxnet as mx
    import zoo_mxnet

    class Twice(mx.gluon.HybridBlock):
        def __init__(self) -> None:
            super().__init__()
            self.clip = mx.gluon.nn.Activation("relu")

        def hybrid_forward(self, F: Any, x: Any) -> Any:
            return self.clip(self.clip(x - 1) - 1)

    net = Twice()
    net.hybridize()
    x = mx.nd.array([[0.5, 1.5, 2.5, 3.5]])
    expected = net(x).asnumpy()
    net.export(str(tmp_path / "twice"))
    names = [node["name"] for node in json.loads((tmp_path / "twice-symbol.json").read_text())["nodes"]]
    assert len(set(names)) < len(names)
    block = zoo_mxnet.SymbolBlock.from_program(tmp_path / "twice-symbol.json")
    assert (block(x).asnumpy() == expected).all()
    assert len(set(block.outputs)) == len(block.outputs)


def test_the_inputs_order_survives_in_the_file(engine: Any, saved: Callable[..., bytes]) -> None:
    program = mx.sym.broadcast_sub(mx.sym.var("one"), mx.sym.var("other"))
    net, recovered = nn.HybridSequential(), nn.HybridSequential()
    net.add(SymbolBlock.from_program(program, inputs=("other", "one")))
    recovered.add(SymbolBlock())

    engine.load_parameters(recovered, saved(net))

    assert recovered[0].inputs == ("other", "one")


def test_parameters_lie_in_the_mapped_file_without_a_copy(engine: Any, saved: Callable[..., bytes]) -> None:
    content = bytearray(saved(make.filled()))
    block = SymbolBlock()
    file = read_parameters(content)

    engine.load_parameters(block, file)
    file["pub_dense0_bias"][:] = 3

    assert make.values(block)["pub_dense0_bias"].tolist() == [3] * 5


def test_weights_may_be_converted_and_the_program_stays(engine: Any, saved: Callable[..., bytes]) -> None:
    net = make.combined(empty=True)

    engine.load_parameters(net, saved(make.combined()), dtype="float16")

    dtypes = {name: value.dtype.name for name, value in make.values(net).items()}
    assert dtypes["1.one._extra_state"] == "uint8"
    assert dtypes["1.one.pub_conv0_weight"] == "float16"
    assert dtypes["1.one.pub_batchnorm0_running_var"] == "float32"


def test_weights_of_a_program_are_never_taken_for_a_batch_norm_of_pytorch(saved: Callable[..., bytes]) -> None:
    data, mean, var = mx.sym.var("data"), mx.sym.var("bn.running_mean"), mx.sym.var("bn.running_var")
    program = mx.sym.BatchNorm(data, mx.sym.var("bn.weight"), mx.sym.var("bn.bias"), mean, var)
    ones = {f"bn.{name}": np.ones(2, np.float32) for name in ("weight", "bias", "running_mean", "running_var")}

    content = saved(SymbolBlock.from_program(program, parameters=ones))

    assert stored(content).keys() == {*ones, "_extra_state"}


def test_gluons_own_load_parameters_fills_a_filled_block_and_refuses_another_program(tmp_path: Path) -> None:
    net, again, other = nn.HybridSequential(), nn.HybridSequential(), nn.HybridSequential()
    net.add(make.filled(1))
    again.add(make.filled(2))
    other.add(SymbolBlock.from_program(again[0].program.replace(b'"relu"', b'"tanh"')))
    other.initialize()
    make.run(other)
    net.save_parameters(str(tmp_path / "net.params"))

    again.load_parameters(str(tmp_path / "net.params"))

    assert make.run(again).tobytes() == make.run(net).tobytes()
    with pytest.raises(ParameterError, match="the block holds another program"):
        other.load_parameters(str(tmp_path / "net.params"))


def test_gluons_own_load_parameters_says_what_fills_an_empty_holder_instead(tmp_path: Path) -> None:
    path = str(tmp_path / "net.params")
    make.combined().save_parameters(path)
    net = make.combined(empty=True)

    with pytest.raises(ParameterError, match=r"fixes the names .*: use zoo_mxnet\.load_parameters\(block, path\)"):
        net.load_parameters(path)
    with pytest.raises(ParameterError, match="cannot fill a SymbolBlock alone: use zoo_mxnet"):
        SymbolBlock().load_parameters(path)

    make.zoo_mxnet.load_parameters(net, path)
    assert make.run(net).tobytes() == make.run(make.combined()).tobytes()


def test_gluons_own_save_parameters_never_leaves_an_empty_holder_out(tmp_path: Path) -> None:
    net = nn.HybridSequential()
    net.add(SymbolBlock())

    with pytest.raises(ParameterError, match="this SymbolBlock is empty"):
        net.save_parameters(str(tmp_path / "net.params"))


# What the file says.


def test_the_header_describes_the_programs_and_one_program_is_stored_once(saved: Callable[..., bytes]) -> None:
    net = make.combined()

    file = read_parameters(saved(net, name="both"))

    digest = hashlib.sha256(net[1].one.program).hexdigest()
    described = json.loads(file.header["zoo.programs"])
    assert described.keys() == {"1.one._extra_state", "1.other.0._extra_state"} == file.programs.keys()
    assert all(entry == {"kind": "mxnet.symbol", "sha256": digest} for entry in described.values())
    assert all((program.kind, program.sha256) == ("mxnet.symbol", digest) for program in file.programs.values())
    assert file.aliases == {"1.other.0._extra_state": "1.one._extra_state"}
    assert not file.is_data


def test_a_block_without_programs_has_no_such_entry(engine: Any, saved: Callable[..., bytes]) -> None:
    net = nn.Dense(2, in_units=3)
    net.initialize()

    assert "zoo.programs" not in read_parameters(saved(net)).header
    assert engine.programs(net) == {}


def test_the_engine_lists_the_programs_of_a_block(engine: Any) -> None:
    assert engine.program_kinds == ("mxnet.symbol",)
    assert engine.programs(make.combined()) == {"1.one._extra_state": "mxnet.symbol", "1.other.0._extra_state": "mxnet.symbol"}
    assert engine.programs(make.combined(empty=True)) == {}


def test_weights_that_are_shared_are_stored_once_and_stay_shared(engine: Any, saved: Callable[..., bytes]) -> None:
    block = make.filled()
    content = saved(make.Both(block, block.remove_last_block()))
    one = SymbolBlock()
    recovered = make.Both(one, one)

    assert read_parameters(content).aliases["other.pub_conv0_weight"] == "one.pub_conv0_weight"

    same = saved(make.Both(block, block))
    engine.load_parameters(recovered, same)
    assert_same_file(saved(recovered), same)


def test_an_empty_holder_cannot_be_saved(engine: Any) -> None:
    with pytest.raises(ParameterError, match="_extra_state: this SymbolBlock is empty"):
        engine.save_parameters(SymbolBlock(), io.BytesIO(), {})


# Running by names.


def test_inputs_go_by_the_symbols_own_names(engine: Any) -> None:
    program = mx.sym.broadcast_sub(mx.sym.var("one"), mx.sym.var("other"))
    block = SymbolBlock.from_program(program, inputs=("one", "other"))

    found = engine.forward(block, {"other": np.float32([[1]]), "one": np.float32([[5]])})

    assert found["output"].tolist() == [[4]]


def test_inputs_get_the_dtype_of_the_weights_and_not_of_the_program(engine: Any) -> None:
    block = make.filled()
    block.cast("float64")

    assert engine.forward(block, {"data": make.PICTURES})["output"].dtype == np.float64


# What does not fit.


def assert_empty(net: Any) -> None:
    assert net[1].one.program is None
    assert net[1].other[0].program is None
    assert list(net[1].one.collect_params()) == []


@pytest.mark.parametrize(
    ("change", "attribute", "name"),
    [
        (lambda tensors: tensors.pop("1.one.pub_dense0_bias"), "missing", "1.one.pub_dense0_bias"),
        (lambda tensors: tensors.pop("1.one._extra_state"), "missing", "1.one._extra_state"),
        (lambda tensors: tensors.update(more=np.ones(1, np.float32)), "unexpected", "more"),
        (lambda tensors: tensors.update({"0._extra_state": tensors["1.one._extra_state"]}), "unexpected", "0._extra_state"),
        (
            lambda tensors: tensors.update({"1.one.pub_dense0_bias": np.ones(4, np.float32)}),
            "mismatched",
            "1.one.pub_dense0_bias",
        ),
        (lambda tensors: tensors.update({"0.weight": np.ones((3, 4, 1, 1), np.float32)}), "mismatched", "0.weight"),
    ],
    ids=["weight missing", "program missing", "superfluous", "program elsewhere", "another shape", "another shape outside"],
)
def test_a_strict_load_that_fails_leaves_the_holders_empty(
    engine: Any, saved: Callable[..., bytes], change: Callable[[Any], Any], attribute: str, name: str
) -> None:
    tensors = stored(saved(make.combined()))
    tensors["1.other.0._extra_state"] = tensors["1.one._extra_state"]
    change(tensors)
    net = make.combined(empty=True)

    with pytest.raises(ParameterError, match="does not fit HybridSequential") as caught:
        engine.load_parameters(net, safetensors_numpy.save(tensors))

    assert name in getattr(caught.value, attribute)
    assert_empty(net)
    assert not engine.load_parameters(net, saved(make.combined()))


def test_a_load_that_is_not_strict_fills_what_fits(engine: Any, saved: Callable[..., bytes]) -> None:
    tensors = stored(saved(make.combined()))
    del tensors["1.one.pub_dense0_bias"]
    net = make.combined(empty=True)

    report = engine.load_parameters(net, safetensors_numpy.save(tensors), strict=False)

    assert set(report.missing) == {"1.one.pub_dense0_bias", "1.other.0._extra_state"}
    assert not make.values(net[1].one)["pub_dense0_bias"].any()
    assert net[1].other[0].program is None


@pytest.mark.parametrize(
    ("by", "expected"),
    [
        ("path", r"expected net-0000\.params \(or another number\), which Gluon's export writes beside it"),
        ("content", r"give the path of NAME-symbol\.json, with NAME-0000\.params beside it"),
    ],
)
def test_a_symbol_without_its_parameters_names_the_file_that_is_missing(
    engine: Any, tmp_path: Path, by: str, expected: str
) -> None:
    path = make.exported(tmp_path)
    (tmp_path / "net-0000.params").unlink()

    with pytest.raises(ParameterError, match=f"a symbol without its parameters .*; {expected}$") as caught:
        engine.load_parameters(SymbolBlock(), path if by == "path" else path.read_bytes())

    assert "pub_dense0_weight" in caught.value.missing


def test_a_missing_weight_never_passes_for_an_input(engine: Any, tmp_path: Path) -> None:
    path = make.exported(tmp_path)
    arrays = mx.nd.load(str(tmp_path / "net-0000.params"))
    del arrays["arg:pub_dense0_weight"]
    mx.nd.save(str(tmp_path / "net-0000.params"), arrays)

    with pytest.raises(ParameterError, match="missing in the file: pub_dense0_weight"):
        engine.load_parameters(SymbolBlock(), path)


def test_a_filled_block_takes_its_own_program_and_no_other(engine: Any, saved: Callable[..., bytes]) -> None:
    block, other = make.filled(1), SymbolBlock.from_program(mx.sym.var("data") + 1)

    assert not engine.load_parameters(block, saved(make.filled(2)))
    assert make.run(block).tobytes() == make.run(make.filled(2)).tobytes()
    with pytest.raises(ParameterError, match="_extra_state is another program in the file"):
        engine.load_parameters(block, saved(other))


def test_a_file_without_a_program_does_not_fill_a_holder(engine: Any) -> None:
    tensors = {name: value for name, value in make.values(make.filled()).items() if name != "_extra_state"}
    block = SymbolBlock()

    with pytest.raises(ParameterError, match="missing in the file: _extra_state"):
        engine.load_parameters(block, safetensors_numpy.save(tensors))

    assert block.program is None


@pytest.mark.parametrize(
    ("content", "kind"),
    [(b'{"torch.aten":1,"nodes":[]}', "torch.aten"), (b"print('hello')", "unknown")],
    ids=["PyTorch's", "nothing"],
)
def test_a_program_of_another_kind_is_refused(engine: Any, content: bytes, kind: str, tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    path.write_bytes(safetensors_numpy.save({"_extra_state": np.frombuffer(content, np.uint8)}))
    block = SymbolBlock()

    assert not engine.reads(path)
    with pytest.raises(
        ParameterError, match=f"_extra_state is a program of kind {kind}; MXNet's SymbolBlock takes mxnet.symbol"
    ):
        engine.load_parameters(block, path)

    assert block.program is None


def test_a_program_that_is_no_row_of_bytes_is_refused(engine: Any) -> None:
    block = SymbolBlock()

    with pytest.raises(ParameterError, match="program of kind unknown"):
        engine.load_parameters(block, safetensors_numpy.save({"_extra_state": np.ones((2, 2), np.uint8)}))


def test_tensors_of_several_files_may_lie_at_the_same_place(engine: Any, tmp_path: Path) -> None:
    parts = {"a.safetensors": {"weight": np.ones((2, 3), np.float32)}, "b.safetensors": {"bias": np.full(2, 5, np.float32)}}
    for name, tensors in parts.items():
        safetensors_numpy.save_file(tensors, tmp_path / name)
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {tensor: name for name, tensors in parts.items() for tensor in tensors}}))
    net = nn.Dense(2, in_units=3)

    assert not engine.load_parameters(net, index)

    assert make.run(net, np.ones((1, 3), np.float32)).tolist() == [[8, 8]]
