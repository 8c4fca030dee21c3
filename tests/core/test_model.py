"""Model and Predictor, with an engine that does nothing but multiply."""

from __future__ import annotations

import gc
import io
import json
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.core.toy_engine import ENTRY_POINTS, Numbers, Scale, ScaleFactory, ToyEngine, stored
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


# golden outputs ------------------------------------------------------------------------------------------------------


class Repeating(ToyEngine):
    """Gives what it is told, whatever its block is."""

    def __init__(self, **outputs: Any) -> None:
        self.outputs = outputs
        self.seen: dict[str, Any] = {}

    def forward(self, block: Any, arrays: Any) -> Any:
        self.seen = dict(arrays)
        return dict(self.outputs)


def proven(block: Any, engine: ToyEngine, golden: Any, **tolerances: float) -> Model:
    """A model with the golden file that saving it leaves."""
    model = Model(block, engine=engine, name="scale")
    stream = io.BytesIO()
    model.save(stream, golden=golden, **tolerances)
    model.golden_file = read_parameters(stream.getvalue())
    return model


def test_a_model_without_golden_outputs_has_nothing_to_compare(model: Model) -> None:
    assert (model.check().outputs, model.check().ok) == ((), True)
    model.golden_file = read_parameters(stored({"weight": [1.0]}))
    assert model.check().outputs == ()


def test_a_model_that_computes_what_was_saved_checks(np: Any, model: Model) -> None:
    found = proven(model.block, ToyEngine(), np.array([[1.0, 2.0, 3.0]], np.float32)).check()
    assert (found.engine, found.device, found.ok) == ("Toy", "cpu", True)
    assert [(item.name, item.max_abs, item.max_rel) for item in found.outputs] == [("output_0", 0.0, 0.0)]


def test_a_model_that_computes_something_else_does_not(np: Any, model: Model) -> None:
    changed = proven(model.block, ToyEngine(), np.array([[1.0, 2.0, 4.0]], np.float32))
    changed.block.weight[0] = 2.5
    found = changed.check()
    assert [(item.name, item.max_abs, item.max_rel, item.ok) for item in found.outputs] == [("output_0", 0.5, 0.25, False)]
    assert not found.ok


@pytest.mark.parametrize(
    ("tolerances", "ok"), [({"rtol": 0.25}, True), ({"atol": 0.5}, True), ({"rtol": 0.2, "atol": 0}, False)]
)
def test_its_author_said_how_far_it_may_be_off(np: Any, model: Model, tolerances: dict[str, float], ok: bool) -> None:
    changed = proven(model.block, ToyEngine(), np.array([[1.0, 2.0, 4.0]], np.float32), **tolerances)
    changed.block.weight[0] = 2.5
    assert changed.check().ok is ok


@pytest.mark.parametrize(
    "tolerances", [{"rtol": -1e-9}, {"rtol": 1.0}, {"rtol": float("nan")}, {"atol": -1.0}, {"atol": float("inf")}]
)
def test_a_tolerance_that_no_check_would_accept_is_not_saved(np: Any, model: Model, tolerances: dict[str, float]) -> None:
    stream = io.BytesIO()
    with pytest.raises(InputError, match="expected 0 <= rtol < 1"):
        model.save(stream, golden=np.ones((1, 3)), **tolerances)
    assert stream.getvalue() == b""


def test_what_is_no_number_is_proof_too(np: Any) -> None:
    strange = np.array([np.nan, np.inf, -np.inf, 0.0], np.float32)
    engine = Repeating(output=strange)
    model = proven(Scale(1, np.ones(1, np.float32)), engine, np.ones((1, 3)))
    assert model.check().ok
    engine.outputs["output"] = np.array([0.0, np.inf, -np.inf, 0.0], np.float32)
    assert not model.check().ok


def test_several_outputs_are_checked_each_by_its_name(np: Any) -> None:
    engine = Repeating(boxes=np.zeros((1, 4), np.float32), scores=np.ones((1, 2), np.float32))
    model = proven(Scale(1, np.ones(1, np.float32)), engine, np.ones((1, 3)))
    engine.outputs["scores"] = np.zeros((1, 2), np.float32)
    assert [(item.name, item.ok) for item in model.check().outputs] == [("boxes", True), ("scores", False)]


def test_an_output_that_has_another_shape_now_differs_without_bound(np: Any) -> None:
    engine = Repeating(output=np.zeros((1, 4), np.float32))
    model = proven(Scale(1, np.ones(1, np.float32)), engine, np.ones((1, 3)))
    engine.outputs["output"] = np.zeros((1, 5), np.float32)
    (item,) = model.check().outputs
    assert (item.max_abs, item.ok) == (float("inf"), False)


@pytest.mark.parametrize(
    ("golden", "names"),
    [
        (lambda np: np.ones((1, 3)), ["input"]),
        (lambda np: [[1.0, 1.0, 1.0]], ["input"]),
        (lambda np: (np.ones((1, 3)), np.zeros((1, 3))), ["input_0", "input_1"]),
        (lambda np: {"image": np.ones((1, 3)), "mask": np.zeros((1, 3))}, ["image", "mask"]),
        (lambda np: np.float32(2.0), ["input"]),
    ],
    ids=["array", "list", "tuple", "dict", "no dimensions"],
)
def test_golden_inputs_are_given_as_to_predict_and_run_again_under_their_names(
    np: Any, golden: Callable[[Any], Any], names: list[str]
) -> None:
    engine = Repeating(output=np.zeros(1, np.float32))
    model = proven(Scale(1, np.ones(1, np.float32)), engine, golden(np))
    engine.seen.clear()
    assert model.check().ok
    assert list(engine.seen) == names


def test_a_golden_input_without_dimensions_has_no_free_one() -> None:
    np = pytest.importorskip("numpy")
    stream = io.BytesIO()
    Model(Scale(1, np.ones(1, np.float32)), engine=Repeating(output=np.float32(1.0))).save(stream, golden=np.float32(2.0))
    inputs, outputs = signature_of(read_parameters(stream.getvalue()).header["zoo.signature"])
    assert ([spec.shape for spec in inputs], [spec.shape for spec in outputs]) == ([()], [()])


def test_with_a_signature_golden_inputs_go_by_its_names_and_it_is_kept(np: Any) -> None:
    """It may leave dimensions free that one input cannot tell of."""
    free = TensorSpec(name="left", dtype="float32", shape=(None, None))
    model = Model(Scale(1, np.ones(1, np.float32)), engine=ToyEngine())
    model.inputs, model.outputs = (free,), (free,)
    stream = io.BytesIO()
    model.save(stream, golden=np.ones((1, 3)))
    file = read_parameters(stream.getvalue())
    assert [name for name in file if name.startswith("zoo.golden.")] == ["zoo.golden.input.left", "zoo.golden.output.left"]
    assert signature_of(file.header["zoo.signature"]) == ((free,), (free,))


def test_a_golden_input_that_is_none_is_an_error_and_nothing_is_written(model: Model, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected an array"):
        model.save(tmp_path / "scale.safetensors", golden="cat.jpg")
    assert list(tmp_path.iterdir()) == []


def test_a_golden_file_with_other_inputs_than_the_signature_is_an_error(np: Any, model: Model) -> None:
    checked = proven(model.block, ToyEngine(), np.ones((1, 3)))
    checked.inputs = SPECS
    with pytest.raises(InputError, match="has no input 'input'"):
        checked.check()


def test_closing_drops_the_file_too_so_that_its_memory_can_go(np: Any, model: Model) -> None:
    checked = proven(model.block, ToyEngine(), np.ones((1, 3)))
    file = weakref.ref(checked.golden_file)
    checked.close()
    gc.collect()
    assert (checked.golden_file, file()) == (None, None)


@pytest.mark.parametrize(
    "spec",
    [
        {"name": "x", "dtype": "float32", "shape": "abc"},
        {"name": "x", "dtype": "float32", "shape": [1.5]},
        {"name": "x", "dtype": "float32", "shape": [-1]},
        {"name": "x", "dtype": "float32", "shape": [True]},
        {"name": "x", "dtype": "float32", "shape": {"a": 1}},
        {"name": "x", "dtype": "float32", "shape": None},
        {"name": ["x"], "dtype": "float32", "shape": []},
        {"name": "x", "dtype": 3, "shape": []},
        {"name": "x", "shape": []},
        [],
        None,
    ],
    ids=repr,
)
def test_a_spec_that_is_none_makes_a_signature_malformed(spec: object) -> None:
    for inputs, outputs in (([spec], []), ([], [spec])):
        with pytest.raises(ParameterError, match=r"header entry zoo\.signature is malformed"):
            signature_of(json.dumps({"inputs": inputs, "outputs": outputs}))


def test_two_inputs_of_one_name_make_a_signature_malformed() -> None:
    spec = SPECS[0].to_dict()
    with pytest.raises(ParameterError, match="a name stands twice"):
        signature_of(json.dumps({"inputs": [spec, spec], "outputs": []}))


@pytest.mark.usefixtures("toy")
def test_a_place_that_cannot_be_written_is_an_error_and_keeps_nothing(model: Model, tmp_path: Path) -> None:
    (tmp_path / "place" / "folder").mkdir(parents=True)
    with pytest.raises(InputError, match="folder cannot be written"):
        model.save(tmp_path / "place" / "folder")
    assert [path.name for path in (tmp_path / "place").iterdir()] == ["folder"]
