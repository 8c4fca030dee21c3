"""Model and Predictor, with an engine that does nothing but multiply."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.core.toy_engine import ENTRY_POINTS, Numbers, Scale, ScaleFactory, ToyEngine
from zoo_core import InputError, Model, ParameterError, PluginError, TensorSpec, ZooWarning, __version__, read_parameters
from zoo_core.model import signature_of

#: Most of these models have no factory, which saving warns of.
pytestmark = pytest.mark.filterwarnings("ignore:the model has no factory")


@pytest.fixture
def np() -> Any:
    return pytest.importorskip("numpy")


@pytest.fixture
def model(np: Any) -> Model:
    """A model that doubles, trebles and negates."""
    return Model(Scale(3, np.array([2.0, 3.0, -1.0], np.float32)), engine=ToyEngine(), name="scale")


@pytest.fixture
def toy(install: Callable[..., Path]) -> None:
    """The engine as an installed plugin."""
    install("zoo-toy-engine", "1.4.2", entry_points=ENTRY_POINTS)


SPECS = tuple(TensorSpec(name=name, dtype="float32", shape=(None, 3)) for name in ("left", "right"))


# what a model is -----------------------------------------------------------------------------------------------------


def test_it_keeps_what_it_was_made_of() -> None:
    block, factory, translator = Scale(), ScaleFactory(width=3), Numbers()
    model = Model(block, factory=factory, engine=ToyEngine(), name="scale", translator=translator, arguments={"a": 1})
    assert (model.block, model.factory, model.translator, model.name) == (block, factory, translator, "scale")
    assert (model.engine, model.device, dict(model.arguments)) == ("Toy", "cpu", {"a": 1})
    assert (model.record, model.dtype, model.inputs, model.outputs) == (None, None, (), ())


@pytest.mark.usefixtures("toy")
def test_its_engine_is_found_from_the_blocks_type_or_by_name() -> None:
    assert Model(Scale()).engine == "Toy"
    assert Model(Scale(), engine="toy").engine == "Toy"


@pytest.mark.usefixtures("toy")
def test_a_block_that_no_engine_knows_is_an_error_that_names_its_type_and_the_engines() -> None:
    with pytest.raises(PluginError, match=r"no installed engine knows a block of type builtins\.dict\. Engines: .*Toy"):
        Model({})


def test_a_block_that_knows_its_factory_needs_none_named() -> None:
    factory = ScaleFactory(width=5)
    assert Model(Scale(zoo_factory=factory), engine=ToyEngine()).factory == factory
    assert Model(Scale(zoo_factory="no factory"), engine=ToyEngine()).factory is None


@pytest.mark.usefixtures("toy")
def test_a_translator_that_is_named_is_built_from_the_arguments() -> None:
    model = Model(Scale(), engine=ToyEngine(), translator="toy_numbers", arguments={"offset": 2, "other": 1})
    assert model.translator == Numbers(offset=2.0)


def test_closing_drops_the_block_and_one_that_was_taken_out_stays() -> None:
    block = Scale()
    with Model(block, engine=ToyEngine()) as model:
        assert model.block is block
    assert model.block is None
    assert block == Scale()


def test_a_closed_model_cannot_predict(np: Any, model: Model) -> None:
    predictor = model.new_predictor()
    model.close()
    with pytest.raises(InputError, match="model scale is closed"):
        predictor.predict(np.ones((1, 3)))


def test_printing_shows_name_engine_and_device() -> None:
    assert repr(Model(Scale(), engine=ToyEngine(), name="scale")) == "Model('scale', engine='Toy', device='cpu')"
    assert repr(Model(Scale(), engine=ToyEngine())) == "Model('Scale', engine='Toy', device='cpu')"


# prediction ----------------------------------------------------------------------------------------------------------


def test_without_a_translator_predict_takes_and_gives_arrays_as_the_block_does(np: Any, model: Model) -> None:
    with model.new_predictor() as predictor:
        found = predictor.predict(np.array([[1.0, 1.0, 1.0], [2.0, 0.0, 5.0]]))
    assert found.tolist() == [[2, 3, -1], [4, 0, -5]]


def test_a_list_of_numbers_is_an_array_too(np: Any, model: Model) -> None:
    assert model.new_predictor().predict([[1, 2, 3]]).tolist() == [[2, 6, -3]]


def test_several_outputs_come_by_name(np: Any, model: Model) -> None:
    found = model.new_predictor().predict((np.ones((1, 3)), np.zeros((1, 3))))
    assert {name: array.tolist() for name, array in found.items()} == {"output_0": [[2, 3, -1]], "output_1": [[0, 0, 0]]}


@pytest.mark.parametrize(
    ("x", "found"),
    [
        ("cat.jpg", "str"),
        (b"bytes", "bytes"),
        (object(), "object"),
        (None, "NoneType"),
        ([[1, 2], [3]], "a ragged list"),
        (([1, 2, 3], "cat.jpg"), "str"),
        ({"input": "cat.jpg"}, "str"),
    ],
    ids=["text", "bytes", "object", "None", "ragged", "in a tuple", "in a dict"],
)
def test_what_is_no_array_is_an_error(np: Any, model: Model, x: object, found: str) -> None:
    with pytest.raises(InputError, match=f"expected an array, a tuple or a dict of arrays, not {found}"):
        model.new_predictor().predict(x)


def test_run_takes_arrays_by_name_and_any_batch_and_leaves_them_as_they_are(np: Any, model: Model) -> None:
    given = np.ones((4, 3))
    given.flags.writeable = False
    found = model.new_predictor().run({"input": given})
    assert found["output_0"].tolist() == [[2, 3, -1]] * 4
    assert given.tolist() == [[1, 1, 1]] * 4


def test_a_signature_names_inputs_and_outputs_and_decides_their_order(np: Any, model: Model) -> None:
    model.inputs, model.outputs = SPECS, tuple(TensorSpec(name=name, dtype="float32", shape=(None, 3)) for name in ("a", "b"))
    zeros, ones = np.zeros((1, 3)), np.ones((1, 3))
    predictor = model.new_predictor()
    for found in (predictor.run({"right": ones, "left": zeros}), predictor.predict((zeros, ones))):
        assert {name: array.tolist() for name, array in found.items()} == {"a": [[0, 0, 0]], "b": [[2, 3, -1]]}


def test_inputs_that_are_not_those_of_the_signature_are_errors(np: Any, model: Model) -> None:
    model.inputs = SPECS
    ones, predictor = np.ones((1, 3)), model.new_predictor()
    with pytest.raises(InputError, match=r"has no input 'rihgt' \(did you mean right\?\)\. Inputs: left, right"):
        predictor.run({"left": ones, "rihgt": ones})
    with pytest.raises(InputError, match="needs the input right; given: left"):
        predictor.run({"left": ones})
    with pytest.raises(InputError, match=r"has 2 inputs \(left, right\), and 1 were given"):
        predictor.predict(ones)


def test_with_a_translator_it_takes_and_gives_what_users_have(np: Any, model: Model) -> None:
    assert model.new_predictor(Numbers()).predict("1 10 100") == 2 + 30 - 100
    model.translator = Numbers(offset=1.0)
    assert model.new_predictor().predict("1 10 100") == 4 + 33 - 101


def test_a_batch_is_one_run_of_the_block(np: Any, model: Model) -> None:
    runs: list[tuple[int, ...]] = []

    class Counting(ToyEngine):
        def forward(self, block: Any, arrays: Any) -> Any:
            runs.extend(array.shape for array in arrays.values())
            return super().forward(block, arrays)

    counting = Model(model.block, engine=Counting(), translator=Numbers())
    assert counting.new_predictor().predict_batch(["1 1 1", "2 2 2", "0 0 1"]) == [4, 8, -1]
    assert runs == [(3, 3)]


def test_an_empty_batch_gives_nothing(np: Any, model: Model) -> None:
    assert model.new_predictor(Numbers()).predict_batch([]) == []


def test_a_batch_without_a_translator_runs_each_by_itself(np: Any, model: Model) -> None:
    found = model.new_predictor().predict_batch([np.ones((1, 3)), np.ones((2, 3))])
    assert [array.tolist() for array in found] == [[[2, 3, -1]], [[2, 3, -1]] * 2]


def test_inputs_that_do_not_go_together_are_an_error(np: Any, model: Model) -> None:
    with pytest.raises(InputError, match="the inputs of a batch do not go together"):
        model.new_predictor(Numbers()).predict_batch(["1 1 1", "1 1"])


def test_an_output_without_a_batch_axis_cannot_be_translated(np: Any, model: Model) -> None:
    class Summing(ToyEngine):
        def forward(self, block: Any, arrays: Any) -> Any:
            return {"output": np.float32(1.0)}

    with pytest.raises(InputError, match=r"output output has shape \(\): no batch of 1"):
        Model(model.block, engine=Summing(), translator=Numbers()).new_predictor().predict("1 1 1")


def test_a_predictor_leaves_its_model_open(model: Model) -> None:
    with model.new_predictor():
        pass
    assert model.block is not None


# saving --------------------------------------------------------------------------------------------------------------


def header(content: Path | bytes) -> dict[str, Any]:
    return {key: json.loads(value) for key, value in read_parameters(content).header.items()}


@pytest.mark.usefixtures("toy")
def test_a_file_says_its_format_its_engine_its_factory_and_its_translator(np: Any, model: Model, tmp_path: Path) -> None:
    model.factory, model.translator = ScaleFactory(width=3), Numbers(offset=0.5)
    model.save(tmp_path / "scale.safetensors")
    assert header(tmp_path / "scale.safetensors") == {
        "zoo.format": 1,
        "zoo.engines": ["Toy"],
        "zoo.factory": {"factory": "scale", "engine": "Toy", "fields": {"width": 3}, "requires": ["zoo-toy-engine>=1.4"]},
        "zoo.translator": {"name": "toy_numbers", "arguments": {"offset": 0.5}},
        "zoo.requires": ["zoo-toy-engine>=1.4"],
        "zoo.written_with": {"zoo-core": __version__, "zoo-toy-engine": "1.4.2"},
    }
    assert read_parameters(tmp_path / "scale.safetensors")["weight"].tolist() == [2, 3, -1]


@pytest.mark.usefixtures("toy")
def test_a_stream_gets_the_same_bytes_as_a_path(np: Any, model: Model, tmp_path: Path) -> None:
    stream = io.BytesIO()
    model.save(stream)
    model.save(str(tmp_path / "scale.safetensors"))
    assert stream.getvalue() == (tmp_path / "scale.safetensors").read_bytes()


@pytest.mark.usefixtures("toy")
def test_golden_outputs_are_computed_now_and_stored_with_the_signature(np: Any, model: Model) -> None:
    stream = io.BytesIO()
    model.save(stream, golden=np.array([[1.0, 2.0, 3.0]]), rtol=1e-3, atol=1e-4)
    file = read_parameters(stream.getvalue())
    assert file["zoo.golden.input.input"].tolist() == [[1, 2, 3]]
    assert file["zoo.golden.output.output_0"].tolist() == [[2, 6, -3]]
    found = header(stream.getvalue())
    assert found["zoo.golden"] == {"rtol": 1e-3, "atol": 1e-4}
    assert found["zoo.signature"] == {
        "inputs": [{"name": "input", "dtype": "float64", "shape": [None, 3]}],
        "outputs": [{"name": "output_0", "dtype": "float64", "shape": [None, 3]}],
    }


@pytest.mark.usefixtures("toy")
def test_a_signature_that_is_known_is_kept(np: Any, model: Model) -> None:
    model.inputs, model.outputs = SPECS[:1], SPECS[1:]
    stream = io.BytesIO()
    model.save(stream)
    assert signature_of(read_parameters(stream.getvalue()).header["zoo.signature"]) == (SPECS[:1], SPECS[1:])


@pytest.mark.usefixtures("toy")
def test_a_save_that_fails_leaves_the_old_file_and_nothing_beside_it(model: Model, tmp_path: Path) -> None:
    class Failing(ToyEngine):
        def save_parameters(self, block: Any, target: Any, header: Any, extra: Any = None) -> None:
            target.write_bytes(b"half")
            raise ParameterError("a tensor cannot be written")

    path = tmp_path / "scale.safetensors"
    path.write_bytes(b"old")
    with pytest.raises(ParameterError, match="a tensor cannot be written"):
        Model(model.block, engine=Failing()).save(path)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.glob("**/*.safetensors")) == [path]


def test_a_factory_that_is_no_entry_point_cannot_be_saved(model: Model, tmp_path: Path) -> None:
    model.factory = ScaleFactory()
    with pytest.raises(PluginError, match=r"Add to pyproject\.toml"):
        model.save(tmp_path / "scale.safetensors")
    assert not (tmp_path / "scale.safetensors").exists()


# signatures ----------------------------------------------------------------------------------------------------------


def test_a_tensor_spec_in_json_is_read_back() -> None:
    spec = TensorSpec(name="image", dtype="float32", shape=(None, 3, 224, 224))
    assert TensorSpec.from_dict(json.loads(json.dumps(spec.to_dict()))) == spec


def test_without_a_signature_there_are_no_specs() -> None:
    assert signature_of(None) == ((), ())


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "{}", '{"inputs": [], "outputs": 3}', '{"inputs": [{}], "outputs": []}', "[" * 100_000]
)
def test_a_malformed_signature_is_an_error(text: str) -> None:
    with pytest.raises(ParameterError, match=r"header entry zoo\.signature is malformed"):
        signature_of(text)


# what a user forgets -------------------------------------------------------------------------------------------------


def test_a_file_that_names_no_factory_is_warned_of(model: Model) -> None:
    with pytest.warns(ZooWarning, match="can be loaded into a given block only"):
        model.save(io.BytesIO())


def test_a_closed_model_is_not_saved(model: Model) -> None:
    model.close()
    with pytest.raises(InputError, match="model scale is closed"):
        model.save(io.BytesIO())


def test_a_folder_that_is_missing_is_named(model: Model, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"{tmp_path / 'nowhere'}: there is no such folder"):
        model.save(tmp_path / "nowhere" / "a.safetensors")


def test_one_text_is_no_batch(model: Model) -> None:
    with pytest.raises(InputError, match="expected several inputs, not one str"):
        model.new_predictor(Numbers()).predict_batch("abc")
