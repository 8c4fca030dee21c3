"""From an artifact's files to a model, with an engine that does nothing but multiply."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests import parameter_files
from tests import repositories as make
from tests.core import toy_engine
from tests.core.toy_engine import Numbers, Scale, ScaleFactory
from zoo_core import (
    BlockFactory,
    Criteria,
    InputError,
    IntegrityError,
    Model,
    ModelNotFoundError,
    ModelZoo,
    ParameterError,
    PluginError,
    UntrustedCodeError,
    ZooWarning,
    hookimpl,
)
from zoo_core.how import How


@pytest.fixture(autouse=True)
def toy(install: Callable[..., Path]) -> None:
    """The engine as an installed plugin."""
    install("zoo-toy-engine", "1.4.2", entry_points=toy_engine.ENTRY_POINTS)


@pytest.fixture
def np() -> Any:
    return pytest.importorskip("numpy")


@pytest.fixture
def weights(np: Any) -> bytes:
    return toy_engine.stored({"weight": [2.0, 3.0, -1.0]})


def zoo_of(root: Path, content: bytes, *, plugins: list[object] | None = None, files: Any = None, **fields: Any) -> ModelZoo:
    """A zoo of one repository with one artifact."""
    described = {"arguments": {"blockFactory": "scale"}, "engines": ["Toy"], **fields}
    listed = {"parameters": make.item("scale.safetensors", content), **(files or {})}
    make.publish(root, make.document(make.artifact(files=listed, **described)), {"scale.safetensors": content})
    return ModelZoo([root], config=False, plugins=plugins or [])


def predicted(model: Model) -> list[list[float]]:
    found: list[list[float]] = model.new_predictor().predict([[1.0, 1.0, 1.0]]).tolist()
    return found


# from criteria to a prediction ---------------------------------------------------------------------------------------


def test_a_model_is_found_built_filled_and_ready(tmp_path: Path, weights: bytes) -> None:
    with zoo_of(tmp_path, weights, name="small").load_model("net", engine="toy") as model:
        assert (model.name, model.engine, model.device, model.dtype) == ("small", "Toy", "cpu", None)
        assert (model.factory, model.block.prepared) == (ScaleFactory(width=3), {})
        assert model.record is not None
        assert model.record.reference == "com.example/net@1.0"
        assert model.arguments["application"] == "cv/image_classification"
        assert predicted(model) == [[2, 3, -1]]


def test_its_files_are_at_hand_by_their_keys(tmp_path: Path, weights: bytes) -> None:
    (found,) = zoo_of(tmp_path, weights).load_model("net").files.values()
    assert found.read_bytes() == weights


def test_device_dtype_and_options_reach_the_engine(tmp_path: Path, weights: bytes) -> None:
    zoo = zoo_of(tmp_path, weights, options={"speed": "3"})
    assert zoo.load_model("net").block.prepared == {"speed": "3"}
    model = zoo.load_model("net", device="cuda:1", dtype="float16", options={"speed": "9"})
    assert (model.device, model.dtype) == ("gpu:1", "float16")
    assert (model.block.device, model.block.dtype, model.block.prepared) == ("gpu:1", "float16", {"speed": "9"})


def test_a_loader_belongs_to_one_model(tmp_path: Path, weights: bytes) -> None:
    zoo = zoo_of(tmp_path, weights)
    (loader,) = zoo.loaders()
    assert loader == zoo.loader("com.example", "net")
    assert [record.reference for record in loader.records()] == ["com.example/net@1.0"]
    assert (loader.match(Criteria(version="1.0")), loader.match(Criteria(version="9"))) == (loader.records()[0], None)
    assert predicted(loader.load(Criteria())) == [[2, 3, -1]]
    with pytest.raises(ModelNotFoundError):
        zoo.loader("com.example", "other")


# where the factory comes from ----------------------------------------------------------------------------------------


def test_arguments_that_are_its_fields_reach_the_factory(tmp_path: Path, weights: bytes) -> None:
    zoo = zoo_of(tmp_path, weights, arguments={"blockFactory": "scale", "width": 7})
    assert zoo.load_model("net").factory == ScaleFactory(width=7)
    assert zoo.load_model("net", arguments={"width": "5"}).factory == ScaleFactory(width=5)


@pytest.mark.parametrize(("document", "call"), [("num_width", "numWidth"), ("numWidth", "num_width")])
def test_the_calls_arguments_win_in_whichever_spelling(document: str, call: str) -> None:
    assert How(arguments={call: 2}).merged({document: 1, "other": 3}) == {call: 2, "other": 3}


def test_the_calls_factory_wins_over_the_documents_in_whichever_spelling(tmp_path: Path, weights: bytes) -> None:
    zoo = zoo_of(tmp_path, weights, arguments={"blockFactory": "missing", "width": 7})
    assert zoo.load_model("net", arguments={"block_factory": "scale"}).factory == ScaleFactory(width=7)


def test_a_file_of_a_later_format_is_refused_with_what_to_do(tmp_path: Path, np: Any) -> None:
    (tmp_path / "net.safetensors").write_bytes(toy_engine.stored({"weight": [1.0]}, {"zoo.format": "9"}))
    with pytest.raises(ParameterError, match=r"net is of the format '9'.*pip install zoo-core --upgrade"):
        ModelZoo([], config=False).load_model(model_path=tmp_path / "net.safetensors", block=Scale())


@pytest.mark.parametrize("kind", [bytearray, memoryview])
def test_the_content_may_be_any_bytes(weights: bytes, kind: Any) -> None:
    assert predicted(ModelZoo([], config=False).load_model(model_path=kind(weights), block=Scale())) == [[2, 3, -1]]


def test_a_stream_of_text_is_refused_without_its_text() -> None:
    with pytest.raises(TypeError, match=r"^model_path: expected .*\('rb'\), not a text stream$"):
        ModelZoo([], config=False).load_model(model_path=io.StringIO("secret"))  # type: ignore[arg-type]


def test_a_block_that_is_given_is_filled_and_no_factory_is_asked(tmp_path: Path, weights: bytes) -> None:
    block = Scale()
    model = zoo_of(tmp_path, weights, arguments={"blockFactory": "missing"}).load_model("net", block=block)
    assert model.block is block
    assert predicted(model) == [[2, 3, -1]]


@pytest.mark.parametrize("given", [ScaleFactory(width=9), "scale", "toy.scale", "zoo-toy-engine:scale"], ids=str)
def test_a_factory_that_is_given_wins_over_the_document(tmp_path: Path, weights: bytes, given: BlockFactory | str) -> None:
    zoo = zoo_of(tmp_path, weights, arguments={"blockFactory": "missing", "width": 9})
    with_named = {"arguments": {"width": 9}} if isinstance(given, str) else {}
    assert zoo.load_model("net", block_factory=given, **with_named).factory == ScaleFactory(width=9)


def test_the_parameter_files_own_factory_is_used_where_nobody_names_one(tmp_path: Path, np: Any) -> None:
    header = {"zoo.factory": '{"factory": "scale", "fields": {"width": 4}}'}
    zoo = zoo_of(tmp_path, toy_engine.stored({"weight": [1.0]}, header), arguments={})
    assert zoo.load_model("net").factory == ScaleFactory(width=4)
    assert zoo.load_model("net", arguments={"width": 6}).factory == ScaleFactory(width=6)


def test_without_any_factory_the_error_says_how_to_give_one(tmp_path: Path, weights: bytes) -> None:
    with pytest.raises(PluginError, match=r"net names no block factory.*block_factory= \(--factory\), or a block with block="):
        zoo_of(tmp_path, weights, arguments={}).load_model("net")


def test_a_factory_that_builds_no_block_of_the_engine_is_an_error(tmp_path: Path, weights: bytes) -> None:
    with pytest.raises(PluginError, match=r"Wrong\.new_block gave str, which is no block of Toy"):
        zoo_of(tmp_path, weights, arguments={"blockFactory": "wrong"}).load_model("net")


# where the translator comes from -------------------------------------------------------------------------------------


def test_the_translator_that_the_document_names_is_built_from_the_arguments(tmp_path: Path, weights: bytes) -> None:
    arguments = {"blockFactory": "scale", "translatorFactory": "toy_numbers", "offset": 1}
    with zoo_of(tmp_path, weights, arguments=arguments).load_model("net") as model:
        assert model.translator == Numbers(offset=1.0)
        assert model.new_predictor().predict("1 10 100") == 4 + 33 - 101


@pytest.mark.parametrize("given", [Numbers(offset=2.0), "toy_numbers"], ids=["object", "name"])
def test_a_translator_that_is_given_wins(tmp_path: Path, weights: bytes, given: Any) -> None:
    zoo = zoo_of(tmp_path, weights, arguments={"blockFactory": "scale", "translatorFactory": "missing"})
    model = zoo.load_model("net", translator=given, **({"arguments": {"offset": 2}} if isinstance(given, str) else {}))
    assert model.translator == Numbers(offset=2.0)


def test_the_parameter_files_own_translator_is_used_where_nobody_names_one(tmp_path: Path, np: Any) -> None:
    header = {"zoo.translator": '{"name": "toy_numbers", "arguments": {"offset": 3}}'}
    zoo = zoo_of(tmp_path, toy_engine.stored({"weight": [1.0, 1.0, 1.0]}, header))
    assert zoo.load_model("net").translator == Numbers(offset=3.0)


@pytest.mark.parametrize("key", ["zoo.factory", "zoo.translator"])
@pytest.mark.parametrize("text", ["{", "[]", "3"])
def test_a_header_entry_that_is_no_object_is_an_error(tmp_path: Path, np: Any, key: str, text: str) -> None:
    zoo = zoo_of(tmp_path, toy_engine.stored({"weight": [1.0]}, {key: text}), arguments={})
    how = {} if key == "zoo.factory" else {"block_factory": ScaleFactory()}
    with pytest.raises(ParameterError, match=f"header entry {key} is "):
        zoo.load_model("net", **how)


# arguments and options that nobody takes -----------------------------------------------------------------------------


def test_an_argument_of_the_user_that_nobody_takes_is_an_error_with_the_near_names(tmp_path: Path, weights: bytes) -> None:
    with pytest.raises(
        InputError, match=r"nobody takes the argument 'widht' \(did you mean width\?\)\. Taken: noteworthy, width"
    ):
        zoo_of(tmp_path, weights).load_model("net", arguments={"widht": 3})


def test_an_argument_of_a_document_that_nobody_takes_is_a_warning(tmp_path: Path, weights: bytes) -> None:
    zoo = zoo_of(tmp_path, weights, arguments={"blockFactory": "scale", "widht": 3})
    with pytest.warns(ZooWarning, match=r"net: nobody takes the argument 'widht' of its document \(did you mean width\?\)"):
        zoo.load_model("net")


def test_an_argument_that_a_factory_says_it_reads_is_taken(tmp_path: Path, weights: bytes) -> None:
    zoo = zoo_of(tmp_path, weights, arguments={"blockFactory": "scale", "noteworthy": 1})
    assert zoo.load_model("net", arguments={"noteworthy": 2}).arguments["noteworthy"] == 2


def test_an_option_that_the_engine_lacks_is_an_error_or_a_warning_likewise(tmp_path: Path, weights: bytes) -> None:
    zoo = zoo_of(tmp_path, weights, options={"mapLocation": "true"})
    with pytest.warns(ZooWarning, match="net: engine Toy has no option 'mapLocation'"):
        zoo.load_model("net")
    with pytest.raises(InputError, match=r"engine Toy has no option 'sped' \(did you mean speed\?\)\. Options: speed"):
        zoo.load_model("net", options={"sped": "1"})


# parameters ----------------------------------------------------------------------------------------------------------


def test_what_does_not_fit_is_an_error_and_a_warning_where_that_was_asked_for(tmp_path: Path, np: Any) -> None:
    zoo = zoo_of(tmp_path, toy_engine.stored({"weight": [1.0, 1.0, 1.0], "bias": [0.0]}))
    with pytest.raises(ParameterError) as caught:
        zoo.load_model("net")
    assert caught.value.unexpected == ("bias",)
    with pytest.warns(ZooWarning, match="net: loaded what fits; unexpected bias"):
        assert predicted(zoo.load_model("net", strict=False)) == [[1, 1, 1]]


def test_a_file_that_is_no_parameter_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match="is no parameter file that is read here"):
        zoo_of(tmp_path, b"hello" * 100).load_model("net")


# what is loaded from where -------------------------------------------------------------------------------------------

PROGRAM = parameter_files.safetensors({"1._extra_state": parameter_files.entry("U8", [4], 0, 4)}, b"code")
UNTRUSTED = r"com\.example/net@1\.0 holds a program .*file:.*trust_programs=True"


def test_a_program_is_loaded_from_a_configured_repository_only_or_with_trust(tmp_path: Path) -> None:
    """It gets as far as the engine, which has no place for a program."""
    zoo, ad_hoc = zoo_of(tmp_path, PROGRAM), ModelZoo([], config=False, plugins=[])
    with pytest.raises(UntrustedCodeError, match=UNTRUSTED):
        ad_hoc.load_model("net", model_urls=[tmp_path])
    with pytest.raises(ParameterError, match="unexpected"):
        zoo.load_model("net")
    with pytest.raises(ParameterError, match="unexpected"):
        ad_hoc.load_model("net", model_urls=[tmp_path], trust_programs=True)


CODE = b"""
from __future__ import annotations
from dataclasses import dataclass
from tests.core.toy_engine import Scale
from zoo_core import BlockFactory

@dataclass(frozen=True, kw_only=True)
class Carried(BlockFactory):
    width: int = 3

    def new_block(self, model, model_path, arguments):
        return Scale(self.width)
"""


def with_code(root: Path, weights: bytes, code: bytes = CODE, **item: Any) -> ModelZoo:
    zoo = zoo_of(root, weights, files={"code": make.item("block_factory.py", code) | item}, arguments={})
    (root / "model/cv/image_classification/com/example/net/block_factory.py").write_bytes(code)
    return zoo


def test_code_that_an_artifact_carries_is_not_run_without_trust(tmp_path: Path, weights: bytes) -> None:
    sha256 = make.sha256(CODE)
    place = tmp_path / "model/cv/image_classification/com/example/net/block_factory.py"
    with pytest.raises(UntrustedCodeError, match=rf"net carries Python code.*{place}.*--trust-code sha256:{sha256}"):
        with_code(tmp_path, weights).load_model("net", trust_code=["sha256:" + "0" * 64, "dist:acme", "net", "*", ""])


@pytest.mark.parametrize("trust", ["digest", "address"])
def test_code_runs_where_its_digest_or_its_repository_is_trusted(tmp_path: Path, weights: bytes, trust: str) -> None:
    word = f"sha256:{make.sha256(CODE)}" if trust == "digest" else tmp_path.as_uri()
    zoo = with_code(tmp_path, weights)
    with zoo.load_model("net", trust_code=word) as model, zoo.load_model("net", trust_code=[word]) as again:
        assert type(model.factory).__module__ == f"_zoo_carried_{make.sha256(CODE)}"
        assert (model.factory, predicted(model)) == (again.factory, [[2, 3, -1]])


def test_code_that_was_changed_is_refused_at_the_next_load(tmp_path: Path, weights: bytes) -> None:
    zoo = with_code(tmp_path, weights)
    path = tmp_path / "model/cv/image_classification/com/example/net/block_factory.py"
    zoo.load_model("net", trust_code=tmp_path.as_uri())
    path.write_bytes(CODE.replace(b"3", b"4"))
    with pytest.raises((IntegrityError, UntrustedCodeError)):
        zoo.load_model("net", trust_code=tmp_path.as_uri())


# files that are named by their path ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "given",
    [
        lambda path: path,
        str,
        lambda path: path.parent,
        lambda path: path.read_bytes(),
        lambda path: io.BytesIO(path.read_bytes()),
    ],
    ids=["path", "text", "folder", "bytes", "stream"],
)
def test_a_file_that_says_its_factory_is_enough(tmp_path: Path, np: Any, given: Callable[[Path], Any]) -> None:
    header = {"zoo.factory": '{"factory": "scale", "fields": {}}', "zoo.engines": '["Toy"]'}
    path = tmp_path / "files" / "scale.safetensors"
    path.parent.mkdir()
    path.write_bytes(toy_engine.stored({"weight": [2.0, 3.0, -1.0]}, header))
    with ModelZoo([], config=False, plugins=[]).load_model(model_path=given(path)) as model:
        assert (model.name, model.record) == ("scale" if hasattr(given(path), "parent") or given is str else "model", None)
        assert predicted(model) == [[2, 3, -1]]


def test_a_model_that_was_saved_is_loaded_again(tmp_path: Path, np: Any) -> None:
    block = Scale(3, np.array([2.0, 3.0, -1.0], np.float32), zoo_factory=ScaleFactory(width=3))
    Model(block, translator=Numbers(offset=1.0)).save(tmp_path / "scale.safetensors", golden=np.ones((2, 3)))
    with ModelZoo([], config=False, plugins=[]).load_model(model_path=tmp_path / "scale.safetensors") as model:
        assert (model.factory, model.translator) == (ScaleFactory(width=3), Numbers(offset=1.0))
        assert [(spec.name, spec.shape) for spec in (*model.inputs, *model.outputs)] == [
            ("input", (None, 3)),
            ("output_0", (None, 3)),
        ]
        assert model.new_predictor().predict("1 10 100") == 4 + 33 - 101


@pytest.mark.parametrize("names", [(), ("a.safetensors", "b.pth")], ids=["none", "several"])
def test_a_folder_must_hold_one_parameter_file(tmp_path: Path, names: tuple[str, ...]) -> None:
    (tmp_path / "files").mkdir()
    for name in names:
        (tmp_path / "files" / name).write_bytes(b"")
    with pytest.raises(
        InputError, match=f"{tmp_path / 'files'} holds {', '.join(names) or 'no parameter file'}; name one file"
    ):
        ModelZoo([], config=False, plugins=[]).load_model(model_path=tmp_path / "files")


def test_a_file_that_is_missing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"gone\.safetensors: there is no such file"):
        ModelZoo([], config=False, plugins=[]).load_model(model_path=tmp_path / "gone.safetensors", engine="Toy")


@pytest.mark.parametrize("text", ["{", "3", "[3]", '"Toy"'])
def test_a_header_whose_engines_are_no_list_is_no_traceback(tmp_path: Path, np: Any, text: str) -> None:
    path = tmp_path / "scale.safetensors"
    path.write_bytes(toy_engine.stored({"weight": [1.0]}, {"zoo.engines": text}))
    with pytest.raises(ParameterError, match=r"header entry zoo\.engines"):
        ModelZoo([], config=False, plugins=[]).load_model(model_path=path)


# hooks ---------------------------------------------------------------------------------------------------------------


class Watching:
    """A plugin that writes down what it sees."""

    def __init__(self) -> None:
        self.seen: list[object] = []

    @hookimpl
    def zoo_loading(self, record: Any, engine: str) -> None:
        self.seen.append(("loading", record.reference, engine))

    @hookimpl
    def zoo_loaded(self, model: Model) -> None:
        self.seen.append(("loaded", model.block.prepared))


class Failing:
    """A plugin whose hook raises."""

    @hookimpl
    def zoo_loaded(self, model: Model) -> None:
        raise ValueError("no such luck")


def test_observers_see_a_load_begin_and_end(tmp_path: Path, weights: bytes) -> None:
    watching = Watching()
    zoo_of(tmp_path, weights, plugins=[watching]).load_model("net")
    assert watching.seen == [("loading", "com.example/net@1.0", "Toy"), ("loaded", {})]


def test_an_observer_that_raises_is_a_warning_that_names_it_and_the_others_see_all(tmp_path: Path, weights: bytes) -> None:
    watching = Watching()
    zoo = zoo_of(tmp_path, weights, plugins=[Failing(), watching])
    with pytest.warns(ZooWarning, match="hook zoo_loaded of Failing raised ValueError: no such luck"):
        assert predicted(zoo.load_model("net")) == [[2, 3, -1]]
    assert len(watching.seen) == 2
