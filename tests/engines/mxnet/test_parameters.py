"""Parameter files fill Gluon blocks strictly, without copies; blocks are written so that PyTorch reads them."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from zoo_core import InputError, ParameterError

if TYPE_CHECKING:
    from collections.abc import Callable

np = pytest.importorskip("numpy", reason="needs MXNet: pip install zoo-mxnet")
framework = pytest.importorskip("zoo_mxnet.framework", reason="needs MXNet: pip install zoo-mxnet")
factories = pytest.importorskip("zoo_mxnet.factories")
safetensors_numpy = pytest.importorskip("safetensors.numpy")
mx, nn = framework.mx, framework.nn

WEIGHT = np.arange(6, dtype=np.float32).reshape(2, 3)
BIAS = np.array([0.5, -0.5], np.float32)


def dense() -> Any:
    return nn.Dense(2, in_units=3)


def third_party() -> Any:
    """A network as Gluon's users write it, with Gluon's own parameter names and shapes that it has not inferred yet."""
    net = nn.HybridSequential()
    net.add(nn.Conv2D(4, 3), nn.BatchNorm(), nn.Activation("relu"), nn.Flatten(), nn.Dense(2))
    return net


def initialized(block: Any, *shape: int) -> Any:
    block.initialize(mx.init.Uniform(1))
    block(mx.nd.ones(shape))
    return block


def values(block: Any) -> dict[str, Any]:
    return {name: parameter.data().asnumpy() for name, parameter in block._collect_params_with_prefix().items()}


def assert_same_bits(found: dict[str, Any], expected: dict[str, Any]) -> None:
    assert found.keys() == expected.keys()
    for name in expected:
        assert found[name].dtype == expected[name].dtype, name
        assert found[name].tobytes() == expected[name].tobytes(), name


# Loading.


def test_a_block_gets_the_files_values(engine: Any, parameter_file: Callable[..., Path]) -> None:
    block = dense()

    report = engine.load_parameters(block, parameter_file({"weight": WEIGHT, "bias": BIAS}))

    assert not report
    assert_same_bits(values(block), {"weight": WEIGHT, "bias": BIAS})


def test_the_content_of_a_file_does_as_well(engine: Any) -> None:
    block = dense()

    engine.load_parameters(block, safetensors_numpy.save({"weight": WEIGHT, "bias": BIAS}))

    assert_same_bits(values(block), {"weight": WEIGHT, "bias": BIAS})


def test_a_file_of_gluons_own_save_parameters_fills_a_block(engine: Any, tmp_path: Path) -> None:
    saved, block = initialized(third_party(), 1, 1, 5, 5), third_party()
    saved.save_parameters(str(tmp_path / "net.params"))

    engine.load_parameters(block, tmp_path / "net.params")

    assert_same_bits(values(block), values(saved))


def test_load_parameters_of_the_package_fills_a_block(parameter_file: Callable[..., Path]) -> None:
    import zoo_mxnet

    block = dense()

    zoo_mxnet.load_parameters(block, str(parameter_file({"weight": WEIGHT, "bias": BIAS})))

    assert_same_bits(values(block), {"weight": WEIGHT, "bias": BIAS})


def test_a_strict_load_tells_all_differences_at_once_and_changes_nothing(
    engine: Any, parameter_file: Callable[..., Path]
) -> None:
    block = initialized(nn.HybridSequential(), 1, 3)
    block.add(nn.Dense(2, in_units=3), nn.Dense(2, in_units=2))
    block.initialize()
    before = values(block)
    path = parameter_file(
        {"0.weight": np.ones((2, 4), np.float32), "0.bias": BIAS, "1.weight": np.eye(2, dtype=np.float32), "2.scale": BIAS}
    )

    with pytest.raises(ParameterError) as caught:
        engine.load_parameters(block, path)

    assert caught.value.missing == ("1.bias",)
    assert caught.value.unexpected == ("2.scale",)
    assert caught.value.mismatched == ("0.weight",)
    assert "model.safetensors does not fit HybridSequential" in str(caught.value)
    assert "0.weight [2, 3] in the block, [2, 4] in the file" in str(caught.value)
    assert_same_bits(values(block), before)


def test_a_message_names_the_first_of_many(engine: Any, parameter_file: Callable[..., Path]) -> None:
    block = factories.ResNetV1(layers=18).network()

    with pytest.raises(
        ParameterError, match=r"missing in the file: bn1\.bias, bn1\.running_mean, .*, and 94 more; unexpected in the file: x"
    ):
        engine.load_parameters(block, parameter_file({"x": BIAS}))


def test_a_load_that_is_not_strict_reports_and_keeps_fresh_values(engine: Any, parameter_file: Callable[..., Path]) -> None:
    block = dense()
    path = parameter_file({"weight": np.ones((2, 4), np.float32), "scale": BIAS})

    report = engine.load_parameters(block, path, strict=False)

    assert (report.missing, report.unexpected) == (("bias",), ("scale",))
    assert report.mismatched == ("weight [2, 3] in the block, [2, 4] in the file",)
    np.testing.assert_array_equal(values(block)["bias"], [0, 0])
    assert engine.forward(block, {"x": np.ones((1, 3), np.float32)})["output"].shape == (1, 2)


def test_golden_tensors_are_left_aside(engine: Any, parameter_file: Callable[..., Path]) -> None:
    path = parameter_file({"weight": WEIGHT, "bias": BIAS, "zoo.golden.input.x": WEIGHT, "zoo.golden.output.output": BIAS})

    assert not engine.load_parameters(dense(), path)


def test_pytorchs_count_of_batches_is_left_aside_for_a_batch_norm_only(
    engine: Any, parameter_file: Callable[..., Path]
) -> None:
    block = factories.ResNetV1(layers=18, classes=2).network()
    block.initialize()
    counted = values(block) | {"bn1.num_batches_tracked": np.array(5), "fc.num_batches_tracked": np.array(5)}

    with pytest.raises(ParameterError) as caught:
        engine.load_parameters(block, parameter_file(counted))

    assert caught.value.unexpected == ("fc.num_batches_tracked",)


def test_parameters_ask_for_gradients_as_they_did_before(engine: Any, parameter_file: Callable[..., Path]) -> None:
    block = dense()
    block.bias.grad_req = "null"

    engine.load_parameters(block, parameter_file({"weight": WEIGHT, "bias": BIAS}))

    assert (block.weight.grad_req, block.bias.grad_req) == ("write", "null")
    np.testing.assert_array_equal(block.weight.grad().asnumpy(), np.zeros((2, 3)))


def test_training_a_loaded_block_leaves_the_file_as_it_is(engine: Any, parameter_file: Callable[..., Path]) -> None:
    path = parameter_file({"weight": WEIGHT, "bias": BIAS})
    before = path.read_bytes()
    block = dense()
    engine.load_parameters(block, path)
    trainer = mx.gluon.Trainer(block.collect_params(), "sgd", {"learning_rate": 0.5})

    with mx.autograd.record():
        loss = block(mx.nd.ones((1, 3))).sum()
    loss.backward()
    trainer.step(1)

    assert_same_bits(values(block), {"weight": WEIGHT - np.float32(0.5), "bias": BIAS - np.float32(0.5)})
    assert path.read_bytes() == before


def test_a_loaded_block_outlives_the_name_of_its_file(engine: Any, parameter_file: Callable[..., Path]) -> None:
    path = parameter_file({"weight": WEIGHT, "bias": BIAS})
    block = dense()
    engine.load_parameters(block, path)

    path.unlink()

    assert_same_bits(values(block), {"weight": WEIGHT, "bias": BIAS})


def test_a_block_can_be_filled_again(engine: Any, parameter_file: Callable[..., Path]) -> None:
    block = initialized(dense(), 1, 3)
    for factor in (np.float32(1), np.float32(2)):
        engine.load_parameters(block, parameter_file({"weight": WEIGHT * factor, "bias": BIAS}))

        assert_same_bits(values(block), {"weight": WEIGHT * factor, "bias": BIAS})


@pytest.mark.parametrize("padding", range(9))
def test_values_are_right_wherever_they_lie_in_the_file(padding: int, engine: Any, parameter_file: Callable[..., Path]) -> None:
    block = factories.MLP(inputs=3, hidden=(2,), outputs=2).network()
    tensors = {"0.weight": WEIGHT, "0.bias": BIAS, "2.weight": np.eye(2, dtype=np.float32), "2.bias": BIAS}

    engine.load_parameters(block, parameter_file(tensors, note="x" * 8 * padding))

    x = np.ones((1, 3), np.float32)
    np.testing.assert_allclose(engine.forward(block, {"x": x})["output"], np.maximum(x @ WEIGHT.T + BIAS, 0) + BIAS, rtol=1e-6)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux, which tells a process's memory")
def test_values_are_mapped_and_take_no_memory_of_their_own(engine: Any, parameter_file: Callable[..., Path]) -> None:
    def own_kilobytes() -> int:
        return next(
            int(line.split()[1]) for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("RssAnon")
        )

    path = parameter_file({"weight": np.ones((4096, 4096), np.float32)})
    block = nn.Dense(4096, in_units=4096, use_bias=False)
    block.weight.grad_req = "null"
    before = own_kilobytes()

    engine.load_parameters(block, path)
    total = block.weight.data().sum().asscalar()

    assert total == 4096 * 4096
    assert own_kilobytes() - before < 64 * 1024 / 4


# Dtypes.


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_floating_point_parameters_get_the_dtype_asked_for(
    dtype: str, engine: Any, parameter_file: Callable[..., Path]
) -> None:
    block = dense()

    engine.load_parameters(block, parameter_file({"weight": WEIGHT, "bias": BIAS}), dtype=dtype)

    assert_same_bits(values(block), {"weight": WEIGHT.astype(dtype), "bias": BIAS.astype(dtype)})


def test_the_files_dtype_is_kept_where_none_is_asked_for(engine: Any, parameter_file: Callable[..., Path]) -> None:
    block = dense()

    engine.load_parameters(block, parameter_file({"weight": WEIGHT.astype(np.float64), "bias": BIAS.astype(np.float64)}))

    output = engine.forward(block, {"x": np.ones((1, 3), np.float32)})["output"]
    assert output.dtype == np.float64


def test_bfloat16_is_widened_without_a_loss(engine: Any) -> None:
    bits = (np.concatenate([WEIGHT.ravel(), BIAS]).view(np.uint32) >> 16).astype("<u2").tobytes()
    header = json.dumps(
        {
            "weight": {"dtype": "BF16", "shape": [2, 3], "data_offsets": [0, 12]},
            "bias": {"dtype": "BF16", "shape": [2], "data_offsets": [12, 16]},
        }
    ).encode()
    block = dense()

    engine.load_parameters(block, len(header).to_bytes(8, "little") + header + bits)

    assert_same_bits(values(block), {"weight": WEIGHT, "bias": BIAS})


def test_bfloat16_cannot_be_asked_for(engine: Any, parameter_file: Callable[..., Path]) -> None:
    with pytest.raises(InputError, match="dtype 'bfloat16': MXNet computes with float16, float32, float64"):
        engine.load_parameters(dense(), parameter_file({"weight": WEIGHT, "bias": BIAS}), dtype="bfloat16")


def test_batch_norms_stay_float32_beside_float16(
    engine: Any, seeded: Callable[..., Any], parameter_file: Callable[..., Path]
) -> None:
    block = factories.ResNetV1(layers=18, classes=2).network()

    engine.load_parameters(block, parameter_file(seeded(block)), dtype="float16")

    dtypes = {name: value.dtype for name, value in values(block).items()}
    assert (dtypes["bn1.weight"], dtypes["bn1.running_var"], dtypes["conv1.weight"]) == (np.float32, np.float32, np.float16)


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int32", "int64", "bool"])
def test_integers_are_held_as_they_are(dtype: str, engine: Any, parameter_file: Callable[..., Path]) -> None:
    block = nn.Embedding(2, 3)
    stored = np.array([[0, 1, 0], [1, 0, 1]], dtype)

    engine.load_parameters(block, parameter_file({"weight": stored}), dtype="float64")

    assert_same_bits(values(block), {"weight": stored})


def test_a_dtype_that_mxnet_lacks_is_refused_by_name(engine: Any, parameter_file: Callable[..., Path]) -> None:
    with pytest.raises(ParameterError, match="weight is uint16; MXNet holds float16, float32"):
        engine.load_parameters(dense(), parameter_file({"weight": WEIGHT.astype(np.uint16), "bias": BIAS}))


@pytest.mark.parametrize("shape", [(), (0, 3)], ids=["no axis", "no elements"])
def test_a_shape_that_mxnet_lacks_is_refused_by_name(
    shape: tuple[int, ...], engine: Any, parameter_file: Callable[..., Path]
) -> None:
    class Holder(nn.HybridBlock):
        def __init__(self) -> None:
            super().__init__()
            self.scale = self.params.get("scale", shape=None, allow_deferred_init=True)

    with pytest.raises(ParameterError, match=r"scale has the shape \(.*\); MXNet's parameters have one or more axes"):
        engine.load_parameters(Holder(), parameter_file({"scale": np.ones(shape, np.float32)}))


# Shared parameters.


def tied() -> Any:
    net = nn.HybridSequential()
    first = nn.Dense(3, in_units=3, use_bias=False)
    net.add(first, nn.Dense(3, in_units=3, use_bias=False, params=first.params))
    return net


def test_a_shared_parameter_is_stored_once_and_stays_shared(engine: Any, tmp_path: Path) -> None:
    saved, block, path = initialized(tied(), 1, 3), tied(), tmp_path / "tied.safetensors"

    engine.save_parameters(saved, path, {})
    engine.load_parameters(block, path)

    with safetensors_open(path) as file:
        assert list(file.keys()) == ["0.weight"]
        assert json.loads(file.metadata()["zoo.aliases"]) == {"1.weight": "0.weight"}
    assert block[0].weight is block[1].weight
    assert_same_bits(values(block), values(saved))


def test_parameters_filled_from_one_stored_tensor_are_trained_apart(engine: Any, parameter_file: Callable[..., Path]) -> None:
    block = nn.HybridSequential()
    block.add(nn.Dense(3, in_units=3, use_bias=False), nn.Dense(3, in_units=3, use_bias=False))
    path = parameter_file({"0.weight": np.eye(3, dtype=np.float32)}, **{"zoo.aliases": json.dumps({"1.weight": "0.weight"})})

    engine.load_parameters(block, path)
    block[0].weight.data()[:] = 7
    mx.nd.waitall()

    np.testing.assert_array_equal(block[1].weight.data().asnumpy(), np.eye(3))


@pytest.mark.parametrize("aliases", ["no JSON", '["a"]', "3", '{"1.weight": "none"}', '{"1.weight": {}}'])
def test_malformed_aliases_are_refused(aliases: str, engine: Any, parameter_file: Callable[..., Path]) -> None:
    with pytest.raises(ParameterError, match=r"zoo\.aliases"):
        engine.load_parameters(tied(), parameter_file({"0.weight": np.eye(3, dtype=np.float32)}, **{"zoo.aliases": aliases}))


# Saving.


def test_an_ordinary_gluon_network_comes_back_bit_for_bit(engine: Any, tmp_path: Path) -> None:
    saved, block, path = initialized(third_party(), 1, 1, 5, 5), third_party(), tmp_path / "net.safetensors"

    engine.save_parameters(saved, path, {"zoo.format": "1"})
    report = engine.load_parameters(block, path)

    assert not report
    assert_same_bits(values(block), values(saved))


def test_names_do_not_depend_on_how_many_blocks_there_were_before(engine: Any, tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"

    engine.save_parameters(initialized(third_party(), 1, 1, 5, 5), path, {})

    assert set(safetensors_numpy.load_file(path)) == {
        *("0.weight", "0.bias", "1.gamma", "1.beta", "1.running_mean", "1.running_var", "4.weight", "4.bias"),
    }


def test_our_batch_norms_are_written_with_the_counter_that_pytorch_demands(engine: Any, tmp_path: Path) -> None:
    block, path = factories.ResNetV1(layers=18, classes=2).network(), tmp_path / "net.safetensors"
    block.initialize()

    engine.save_parameters(block, path, {})

    tensors = safetensors_numpy.load_file(path)
    counters = {name: tensor for name, tensor in tensors.items() if name.endswith("num_batches_tracked")}
    assert len(counters) == 20
    assert all((tensor.shape, tensor.dtype, tensor.item()) == ((), np.int64, 0) for tensor in counters.values())
    assert tensors.keys() - counters.keys() == values(block).keys()


def test_header_and_further_tensors_are_written_to_a_stream(engine: Any) -> None:
    stream = io.BytesIO()
    golden = {"zoo.golden.input.x": WEIGHT.T, "zoo.golden.input.scale": np.float32(3)}

    engine.save_parameters(initialized(dense(), 1, 3), stream, {"zoo.format": "1"}, golden)

    tensors = safetensors_numpy.load(stream.getvalue())
    assert json.loads(stream.getvalue()[8 : 8 + int.from_bytes(stream.getvalue()[:8], "little")])["__metadata__"] == {
        "zoo.format": "1"
    }
    np.testing.assert_array_equal(tensors["zoo.golden.input.x"], WEIGHT.T)
    assert tensors["zoo.golden.input.scale"].shape == ()


def test_a_block_without_values_cannot_be_saved(engine: Any) -> None:
    with pytest.raises(ParameterError, match="weight has no value yet: load parameters, or initialize the block"):
        engine.save_parameters(dense(), io.BytesIO(), {})


def test_a_parameter_that_no_attribute_holds_is_not_lost_silently(engine: Any) -> None:
    class Forgetful(nn.HybridBlock):
        def __init__(self) -> None:
            super().__init__(prefix="forgetful_")
            self.params.get("scale", shape=(1,))

    with pytest.raises(ParameterError, match="no attribute leads to forgetful_scale"):
        engine.save_parameters(Forgetful(), io.BytesIO(), {})


def test_one_file_serves_pytorch_strictly(engine: Any, seeded: Callable[..., Any], parameter_file: Callable[..., Path]) -> None:
    torch = pytest.importorskip("torch", reason="needs both engines")
    block, stream = nn.HybridSequential(), io.BytesIO()
    from zoo_mxnet.layers import BatchNorm

    block.add(nn.Conv2D(4, 3, in_channels=3), BatchNorm(4))
    engine.load_parameters(block, parameter_file(seeded(block)))
    engine.save_parameters(block, stream, {})
    module = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4)).eval()

    module.load_state_dict(
        {name: torch.from_numpy(value) for name, value in safetensors_numpy.load(stream.getvalue()).items()}, strict=True
    )

    x = np.random.RandomState(0).uniform(-1, 1, (2, 3, 5, 5)).astype(np.float32)
    with torch.no_grad():
        np.testing.assert_allclose(
            engine.forward(block, {"x": x})["output"], module(torch.from_numpy(x)).numpy(), rtol=1e-5, atol=1e-5
        )


def safetensors_open(path: Path) -> Any:
    from safetensors import safe_open

    return safe_open(path, "numpy")
