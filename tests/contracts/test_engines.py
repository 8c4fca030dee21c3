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

NEUTRAL = {
    "mlp": ({"inputs": 27, "hidden": (5, 4), "outputs": 3}, 3),
    "resnet_v1": ({"layers": 18, "classes": 4}, 32),
    "efficientnet_lite0": ({"classes": 4}, 33),
}


@pytest.fixture(params=NEUTRAL)
def neutral(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any], Any]:
    """The name and the fields of a factory that every engine has, with an input."""
    fields, size = NEUTRAL[request.param]
    return request.param, fields, pictures(size)


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
        expected = writer.forward(block, {"x": x})["output"]
        path = tmp_path / f"{writer.name}.safetensors"
        writer.save_parameters(block, path, {})
        other = built(reader, name, fields)
        reader.load_parameters(other, path)

        found = reader.forward(other, {"x": x})["output"]

        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


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

    assert np.array_equal(engine.forward(other, {"x": x})["output"], engine.forward(block, {"x": x})["output"])


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
        golden = zoo.read_parameters(path)["zoo.golden.output.output"]
        assert np.array_equal(predictor.predict(x), golden)


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


def test_identity_and_ones_need_no_parameters(engine: zoo.Engine) -> None:
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    assert np.array_equal(engine.forward(built(engine, "identity", {}), {"x": x})["output"], x)
    assert np.array_equal(engine.forward(built(engine, "ones", {"shape": (2,)}), {"x": x})["output"], np.ones((2, 2)))


def test_it_says_its_version_and_that_it_has_a_cpu(engine: zoo.Engine) -> None:
    assert engine.version()[0].isdigit()
    assert "cpu" in engine.devices()
