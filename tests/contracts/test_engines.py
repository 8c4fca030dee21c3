"""What every engine does alike."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest

import zoo_core as zoo
from tests.reference_networks import pictures, seeded_values

np = pytest.importorskip("numpy", reason="needs an engine, which brings NumPy")
safetensors_numpy = pytest.importorskip("safetensors.numpy", reason="needs an engine, which brings safetensors")

TOKENS = [[7, 2, 9, 0, 4], [1, 1, 3, 8, 5]]
#: Factory -> its fields, and the side of the pictures or the token ids that it takes.
NEUTRAL: dict[str, tuple[dict[str, Any], Any]] = {
    "mlp": ({"inputs": 27, "hidden": (5, 4), "outputs": 3}, 3),
    "resnet_v1": ({"layers": 18, "classes": 4}, 32),
    "efficientnet_lite0": ({"classes": 4}, 33),
    "ssd": (
        {"classes": 2, "backbone": (4, 6), "scales": (5,), "sizes": ((0.2,), (0.4, 0.5)), "ratios": (1.0, 2.0)},
        21,
    ),
    "transformer_encoder": (
        {"vocabulary": 10, "positions": 6, "types": 2, "hidden": 6, "layers": 2, "heads": 2, "intermediate": 8,
         "activation": "gelu", "epsilon": 1e-12, "pooler": True, "dropout": 0.1},
        TOKENS,
    ),
}  # fmt: skip


@pytest.fixture(params=NEUTRAL)
def neutral(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any], Any]:
    """The name and the fields of a factory that every engine has, with an input."""
    fields, given = NEUTRAL[request.param]
    return request.param, fields, pictures(given) if isinstance(given, int) else np.array(given)


def equal(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether two runs gave the same outputs, bit for bit."""
    return one.keys() == other.keys() and all(np.array_equal(one[name], other[name]) for name in one)


def built(engine: zoo.Engine, name: str, fields: dict[str, Any]) -> Any:
    factory = zoo.block_factory(name, engine=engine.name, **fields)
    return engine.build(factory, zoo.Model(None, engine=engine), None, {})


def seeded_file(block: Any, folder: Path) -> Path:
    """A file with seeded values for a network; equal for equal names and shapes, whichever engine has the network."""
    path = folder / "seeded.safetensors"
    safetensors_numpy.save_file(seeded_values(shapes_of(block)), path)
    return path


def shapes_of(block: Any) -> dict[str, tuple[int, ...]]:
    if hasattr(block, "state_dict"):
        held = {name: tuple(value.shape) for name, value in block.state_dict().items()}
        return {name: shape for name, shape in held.items() if not name.endswith("num_batches_tracked")}
    return {name: value.shape for name, value in block._collect_params_with_prefix().items()}


def test_a_factory_says_the_same_in_every_engine(neutral: tuple[str, dict[str, Any], Any], engine: zoo.Engine) -> None:
    name, fields, _ = neutral
    document = json.loads(zoo.block_factory(name, engine=engine.name, **fields).to_json())
    assert document["factory"] == name
    assert document["engine"] == engine.name
    assert document["fields"] == json.loads(json.dumps(fields))
    assert document["requires"] == [f"zoo-{engine.name.lower()}>=0.1"]


def test_the_file_of_one_engine_is_complete_for_every_other(
    neutral: tuple[str, dict[str, Any], Any], both_engines: tuple[zoo.Engine, zoo.Engine], tmp_path: Path
) -> None:
    name, fields, x = neutral
    source = seeded_file(built(both_engines[0], name, fields), tmp_path)
    for writer, reader in (both_engines, both_engines[::-1]):
        block = built(writer, name, fields)
        writer.load_parameters(block, source)
        expected = writer.forward(block, {"x": x})
        path = tmp_path / f"{writer.name}.safetensors"
        writer.save_parameters(block, path, {})
        other = built(reader, name, fields)
        reader.load_parameters(other, path)

        found = reader.forward(other, {"x": x})

        assert list(found) == list(expected)
        for key, values in expected.items():
            np.testing.assert_allclose(found[key], values, rtol=0, atol=1e-5 * np.abs(values).max())


def test_what_an_engine_saves_it_loads_bit_for_bit(
    neutral: tuple[str, dict[str, Any], Any], engine: zoo.Engine, tmp_path: Path
) -> None:
    name, fields, x = neutral
    block = built(engine, name, fields)
    engine.load_parameters(block, seeded_file(block, tmp_path))
    stream = io.BytesIO()
    engine.save_parameters(block, stream, {"zoo.format": "1"})
    other = built(engine, name, fields)

    engine.load_parameters(other, stream.getvalue())

    assert equal(engine.forward(other, {"x": x}), engine.forward(block, {"x": x}))


def test_what_is_saved_twice_is_the_same_file(engine: zoo.Engine, tmp_path: Path) -> None:
    """The order of the header's entries is no chance: their digest would be one."""
    header = {f"zoo.entry{number}": f'"{number} \u00e4"' for number in range(12)}
    stream = io.BytesIO()
    engine.save_parameters(holding(engine, "part"), stream, header)
    block = holding(engine, "part")
    engine.load_parameters(block, stream.getvalue())
    engine.save_parameters(block, tmp_path / "again.safetensors", dict(reversed(header.items())))
    assert (tmp_path / "again.safetensors").read_bytes() == stream.getvalue()
    assert list(zoo.read_parameters(stream.getvalue()).header) == sorted(header)


def test_a_model_is_recovered_from_its_file_alone(
    neutral: tuple[str, dict[str, Any], Any], engine: zoo.Engine, tmp_path: Path
) -> None:
    name, fields, x = neutral
    block = built(engine, name, fields)
    engine.load_parameters(block, seeded_file(block, tmp_path))
    path = tmp_path / "model.safetensors"

    zoo.Model(block).save(path, golden=x)

    header = zoo.read_parameters(path).header
    assert json.loads(header["zoo.factory"]) == {"factory": name, "fields": json.loads(json.dumps(fields))}
    assert sorted(json.loads(header["zoo.engines"])) == ["MXNet", "PyTorch"]
    with zoo.load_model(model_path=path, engine=engine.name) as model, model.new_predictor() as predictor:
        assert [spec.shape for spec in model.inputs] == [(None, *x.shape[1:])]
        found = predictor.run({model.inputs[0].name: x})
        golden = zoo.read_parameters(path)
        assert equal(found, {spec.name: golden[f"zoo.golden.output.{spec.name}"] for spec in model.outputs})


def test_errors_name_what_is_missing_unexpected_and_of_another_shape(
    engine: zoo.Engine, neutral: tuple[str, dict[str, Any], Any], tmp_path: Path
) -> None:
    name, fields, _ = neutral
    file = seeded_file(built(engine, name, fields), tmp_path)
    values = dict(safetensors_numpy.load_file(file))
    first, second, *_ = values
    del values[first]
    values[second] = np.zeros((3, 1, 2), np.float32)
    values["extra"] = np.zeros(2, np.float32)
    path = tmp_path / "wrong.safetensors"
    safetensors_numpy.save_file(values, path)

    with pytest.raises(zoo.ParameterError) as caught:
        engine.load_parameters(built(engine, name, fields), path)

    error = caught.value
    assert (error.missing, error.unexpected, error.mismatched) == ((first,), ("extra",), (second,))
    assert "[3, 1, 2] in the file" in str(error)


@pytest.mark.parametrize("device", ["gpu:7", "cuda:7"])
def test_a_device_that_is_not_there_is_an_input_error(engine: zoo.Engine, device: str, tmp_path: Path) -> None:
    block = built(engine, *("mlp", NEUTRAL["mlp"][0]))
    with pytest.raises(zoo.InputError, match="gpu:7"):
        engine.load_parameters(block, seeded_file(block, tmp_path), device=zoo.Device.parse(device))


def values_of(engine: zoo.Engine, block: Any) -> dict[str, Any]:
    """What a block holds, as the engine writes it."""
    stream = io.BytesIO()
    engine.save_parameters(block, stream, {})
    return dict(safetensors_numpy.load(stream.getvalue()))


@pytest.mark.parametrize("fault", ["missing", "unexpected", "mismatched"])
def test_a_strict_load_that_fails_changes_nothing(
    fault: str, engine: zoo.Engine, neutral: tuple[str, dict[str, Any], Any], tmp_path: Path
) -> None:
    name, fields, x = neutral
    block = built(engine, name, fields)
    file = seeded_file(block, tmp_path)
    engine.load_parameters(block, file)
    before, output = values_of(engine, block), engine.forward(block, {"x": x})
    wrong = {key: np.zeros_like(value) for key, value in safetensors_numpy.load_file(file).items()}
    last = list(wrong)[-1]
    if fault == "missing":
        del wrong[last]
    else:
        wrong["extra" if fault == "unexpected" else last] = np.zeros((3, 1, 2), np.float32)

    with pytest.raises(zoo.ParameterError):
        engine.load_parameters(block, safetensors_numpy.save(wrong))

    after = values_of(engine, block)
    assert after.keys() == before.keys()
    assert all(np.array_equal(after[key], before[key]) for key in before)
    assert equal(engine.forward(block, {"x": x}), output)


@pytest.mark.parametrize("strict", [True, False], ids=["strict", "not strict"])
def test_names_of_one_parameter_with_different_values_are_refused(engine: zoo.Engine, strict: bool) -> None:
    same = {"0.weight": np.eye(3, dtype=np.float32), "1.weight": np.eye(3, dtype=np.float32)}
    same["0.weight"][0, 0] = same["1.weight"][0, 0] = np.nan
    engine.load_parameters(tied(engine), safetensors_numpy.save(same))
    different = same | {"1.weight": np.ones((3, 3), np.float32)}

    with pytest.raises(zoo.ParameterError, match=r"different values for '0\.weight' and '1\.weight'"):
        engine.load_parameters(tied(engine), safetensors_numpy.save(different), strict=strict)


def tied(engine: zoo.Engine) -> Any:
    """Two layers with one weight."""
    if engine.name == "PyTorch":
        from torch import nn

        net = nn.Sequential(nn.Linear(3, 3, bias=False), nn.Linear(3, 3, bias=False))
        net[1].weight = net[0].weight
        return net
    from zoo_mxnet.framework import nn

    net, first = nn.HybridSequential(), nn.Dense(3, in_units=3, use_bias=False)
    net.add(first, nn.Dense(3, in_units=3, use_bias=False, params=first.params))
    return net


def holding(engine: zoo.Engine, *path: str) -> Any:
    """A block that holds a layer with one weight under a path of attributes."""
    if engine.name == "PyTorch":
        from torch import nn

        inner: Any = nn.Linear(1, 1, bias=False)
        empty = nn.Module
    else:
        from zoo_mxnet.framework import nn

        inner = nn.Dense(1, in_units=1, use_bias=False)
        inner.initialize()
        empty = nn.HybridBlock
    for name in reversed(path):
        outer = empty()
        setattr(outer, name, inner)
        inner = outer
    return inner


def test_a_part_called_zoo_keeps_its_weights(engine: zoo.Engine) -> None:
    stream = io.BytesIO()
    engine.save_parameters(holding(engine, "zoo"), stream, {})
    other = holding(engine, "zoo")

    engine.load_parameters(other, stream.getvalue())

    assert np.array_equal(values_of(engine, other)["zoo.weight"], safetensors_numpy.load(stream.getvalue())["zoo.weight"])


def test_names_that_golden_tensors_have_are_not_saved(engine: zoo.Engine) -> None:
    with pytest.raises(zoo.ParameterError, match=r"'zoo\.golden\.weight': names that begin with 'zoo\.golden\.' are reserved"):
        engine.save_parameters(holding(engine, "zoo", "golden"), io.BytesIO(), {})


def test_names_of_a_foreign_file_are_printable_in_messages(engine: zoo.Engine) -> None:
    block = built(engine, *("mlp", NEUTRAL["mlp"][0]))
    with pytest.raises(zoo.ParameterError) as caught:
        engine.load_parameters(block, safetensors_numpy.save({"a\x1b[31m\nb\u202e": np.zeros(1, np.float32)}))
    assert r"unexpected in the file: a\x1b[31m\nb\u202e." in str(caught.value)
    assert str(caught.value).isprintable()


def minus(engine: zoo.Engine) -> Any:
    """A block that subtracts ``b`` from ``a``."""
    if engine.name == "PyTorch":
        from torch import nn

        class Minus(nn.Module):
            def forward(self, a: Any, b: Any) -> Any:
                return a - b

        return Minus()
    from zoo_mxnet.framework import nn

    class HybridMinus(nn.HybridBlock):
        def hybrid_forward(self, F: Any, a: Any, b: Any) -> Any:
            return a - b

    return HybridMinus()


@pytest.mark.parametrize(
    ("arrays", "expected"),
    [({"b": 1, "a": 5}, 4), ({"a": 5, "b": 1}, 4), ({"x": 1, "y": 5}, -4), ({"b": 1, "y": 5}, -4)],
    ids=["names of the arguments", "in order", "other names", "one other name"],
)
def test_inputs_go_by_name_where_the_block_knows_all_the_names(
    arrays: dict[str, int], expected: int, engine: zoo.Engine
) -> None:
    given = {name: np.full((1, 1), value, np.float32) for name, value in arrays.items()}
    with zoo.Model(minus(engine), engine=engine).new_predictor() as predictor:
        assert predictor.run(given)["output"].tolist() == [[expected]]


def test_identity_and_ones_need_no_parameters(engine: zoo.Engine) -> None:
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    assert np.array_equal(engine.forward(built(engine, "identity", {}), {"x": x})["output"], x)
    assert np.array_equal(engine.forward(built(engine, "ones", {"shape": (2,)}), {"x": x})["output"], np.ones((2, 2)))


def test_it_says_its_version_and_that_it_has_a_cpu(engine: zoo.Engine) -> None:
    assert engine.version()[0].isdigit()
    assert "cpu" in engine.devices()
