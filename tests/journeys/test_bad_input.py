"""Bad input gets one clear line and the right exit status, never a traceback, and leaves nothing behind."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

from tests import parameter_files as make
from tests import repositories
from tests.installed import ENGINES, each_engine, has, needs

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.commands import Commands, Done

needs_an_engine = pytest.mark.skipif(
    not any(has(f"zoo-{engine.lower()}") for engine in ENGINES), reason="needs an engine: zoo-pytorch or zoo-mxnet"
)


@pytest.fixture
def refused(commands: Commands) -> Callable[..., str]:
    """A function that runs a command, which must fail as it should, and gives its line on standard error."""
    commands.cwd.mkdir()

    def run(*arguments: object, status: int) -> str:
        before = {path: path.read_bytes() for path in commands.cwd.rglob("*") if path.is_file()}
        done = commands.zoo(*arguments)
        assert_clear(done, status)
        # Nothing is left behind: no new file where the user works, nothing whole or in part in the cache.
        assert {path: path.read_bytes() for path in commands.cwd.rglob("*") if path.is_file()} == before
        assert commands.kept() == []
        return done.errors[0]

    return run


def assert_clear(done: Done, status: int) -> None:
    assert done.status == status, done.err
    assert "Traceback" not in done.err
    assert done.out == ""
    assert len(done.errors) == 1
    assert done.err.startswith("error: ")


@pytest.fixture
def folder(commands: Commands) -> Path:
    """The working directory."""
    return commands.cwd


def mlp(folder: Path, **tensors: tuple[int, ...]) -> str:
    """A document of a perceptron with two inputs and two outputs, and its parameter file with tensors of the shapes given."""
    header, data = {}, b""
    for name, shape in tensors.items():
        count = 1
        for size in shape:
            count *= size
        header[name.replace("__", ".")] = make.entry("F32", list(shape), len(data), len(data) + 4 * count)
        data += make.floats(*[0.5] * count)
    return published(folder, make.safetensors(header, data))


def published(folder: Path, content: bytes, *, name: str = "net.safetensors", **changes: Any) -> str:
    """A repository with one model, ``net``, and its parameter file."""
    item = repositories.item(name, content) | changes
    artifact = repositories.artifact(
        arguments={"blockFactory": "mlp", "inputs": 2, "hidden": [], "outputs": 2},
        engines=list(ENGINES),
        files={"parameters": item},
    )
    repositories.publish(folder / "repository", repositories.document(artifact, application="tabular"), {name: content})
    return "repository"


def vector(folder: Path) -> str:
    """A file with an array ``float32[1, 2]``. Source: NumPy Enhancement Proposal 1, version 1.0 of the format."""
    header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (1, 2), }".ljust(117) + b"\n"
    (folder / "x.npy").write_bytes(b"\x93NUMPY\x01\x00\x76\x00" + header + make.floats(5, 3))
    return "x.npy"


@needs_an_engine
class TestAPicture:
    @pytest.mark.parametrize(
        ("name", "content"),
        [
            ("letter.jpg", b"Dear Sir or Madam"),
            ("empty.png", b""),
            ("cut.png", b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00\x00\x08"),
        ],
        ids=lambda value: value if isinstance(value, str) else "",
    )
    def test_that_is_none(self, name, content, refused, folder):
        (folder / name).write_bytes(content)
        line = refused("predict", "digits_mlp", name, status=1)
        assert name in line
        assert "picture" in line

    def test_that_does_not_exist(self, refused):
        assert "absent.png: there is no such file" in refused("predict", "digits_mlp", "absent.png", status=2)


@needs_an_engine
class TestAQuestion:
    @pytest.fixture(autouse=True)
    def picture(self, refused, folder):
        (folder / "x.png").write_bytes(b"never looked at: the model is not found")

    def test_with_an_unknown_filter_key(self, refused):
        line = refused("predict", "digits_mlp", "x.png", "--filter", "dataste=digits", status=3)
        assert re.search("filter key `dataste`: did you mean `?dataset`?", line)

    def test_with_a_filter_value_that_is_not_there(self, refused):
        line = refused("predict", "digits_mlp", "x.png", "--filter", "dataset=mnist", status=3)
        assert "dataset=mnist" in line
        assert "there is: digits" in line

    def test_with_a_version_that_is_not_there(self, refused):
        assert "version 9.9 (there is: 1.0.0)" in refused("predict", "digits_mlp@9.9", "x.png", status=3)

    def test_with_a_misspelt_model(self, refused):
        line = refused("predict", "digit_mlp", "x.png", status=3)
        assert re.search("did you mean `?digits_mlp`?", line)

    def test_with_an_unknown_application(self, refused):
        line = refused("predict", "digits_mlp", "x.png", "--application", "cv/image_clasification", status=2)
        assert "cv/image_classification" in line

    def test_with_an_argument_that_nobody_takes(self, refused):
        line = refused("predict", "digits_mlp", "x.png", "--argument", "widht=8", status=1)
        assert "'widht'" in line
        assert re.search("did you mean `?width`?", line)

    def test_for_a_repository_that_is_not_there(self, refused):
        assert "absent" in refused("predict", "digits_mlp", "x.png", "--repository", "./absent", status=4)

    def test_with_a_parameter_file_that_is_not_there(self, refused):
        assert "absent.safetensors" in refused("predict", "./absent.safetensors", "x.png", status=2)


class TestAnEngine:
    def test_that_is_not_installed_is_answered_with_the_line_that_installs_it(self, refused, folder):
        content = repositories.document(repositories.artifact(engines=["TensorFlux"]))
        repositories.publish(folder / "repository", content)
        line = refused("predict", "net", vector(folder), "--repository", "repository", status=8)
        assert "engine" in line
        assert line.endswith("pip install zoo-tensorflux")

    @pytest.mark.parametrize("engine", ENGINES)
    def test_of_ours_that_is_not_installed(self, engine, refused, folder):
        if has(f"zoo-{engine.lower()}"):
            pytest.skip(f"zoo-{engine.lower()} is installed")
        repository = mlp(folder, **{"0__weight": (2, 2), "0__bias": (2,)})
        line = refused("predict", "net", vector(folder), "--repository", repository, "--engine", engine, status=8)
        assert line.endswith(f"pip install zoo-{engine.lower()}")

    @needs_an_engine
    def test_in_which_the_model_does_not_run(self, refused, folder):
        line = refused("predict", "digits_mlp", vector(folder), "--engine", "TensorFlux", status=3)
        assert "engine TensorFlux" in line
        assert "runs in: PyTorch, MXNet" in line


MALFORMED: dict[str, tuple[Callable[[dict[str, Any]], Any], str, str]] = {
    # What is done to a good document, the path of the field in it, and what was expected.
    "no-version": (lambda d: d.pop("metadataVersion"), "$", "metadataVersion"),
    "artifacts-no-list": (lambda d: d.update(artifacts={"1.0": {}}), "$.artifacts", "array"),
    "file-without-uri": (
        lambda d: d["artifacts"][0]["files"]["parameters"].pop("uri"),
        "$.artifacts[0].files.parameters",
        "uri",
    ),
    "short-digest": (
        lambda d: d["artifacts"][0]["files"]["parameters"].update(sha256="abc123"),
        "$.artifacts[0].files.parameters.sha256",
        "expected 64 hexadecimal digits, found 'abc123'",
    ),
    "size-a-fraction": (
        lambda d: d["artifacts"][0]["files"]["parameters"].update(size=1.5),
        "$.artifacts[0].files.parameters.size",
        "expected a whole number of bytes, found 1.5",
    ),
    "name-a-path": (
        lambda d: d["artifacts"][0]["files"]["parameters"].update(name="../../.bashrc"),
        "$.artifacts[0].files.parameters.name",
        "expected a plain file name, found '../../.bashrc'",
    ),
    "property-a-list": (
        lambda d: d["artifacts"][0].update(properties={"layers": [50]}),
        "$.artifacts[0].properties.layers",
        "expected text, a number or a boolean",
    ),
}


class TestAMalformedDocument:
    @pytest.fixture(params=MALFORMED)
    def fault(self, request, refused, folder):
        change, field, expected = MALFORMED[request.param]
        content = repositories.document(repositories.artifact())
        change(content)
        where = repositories.location(repositories.document(repositories.artifact()))
        path = repositories.publish(folder / "repository", content, folder=where)
        return path, field, expected

    def test_is_named_with_its_file_its_field_and_what_was_expected(self, fault, refused):
        path, field, expected = fault
        line = refused("index", "repository", status=5)
        assert str(path) in line
        assert f" {field}" in line
        assert expected in line

    def test_is_named_to_whoever_looks_for_the_model(self, fault, commands):
        path, field, expected = fault
        done = commands.zoo("download", "net", "--repository", "repository")
        assert done.status in (3, 5)
        assert len(done.errors) == 1
        assert "Traceback" not in done.err
        for words in (path.name, field, expected):
            assert words in done.err

    def test_does_not_hide_the_others(self, fault, folder, commands):
        good = repositories.document(repositories.artifact(), artifact_id="good")
        repositories.publish(folder / "repository", good)
        done = commands.zoo("search", "--repository", "repository", "--json")
        assert done.status == 0
        assert [record["artifact_id"] for record in done.json["records"]] == ["good"]
        assert any(fault[1] in message for message in done.json["messages"])

    def test_that_is_no_json_is_named_with_its_file(self, refused, folder):
        path = repositories.publish(folder / "repository", repositories.document(repositories.artifact()))
        path.write_text('{"metadataVersion": "0.2", ')
        line = refused("index", "repository", status=5)
        assert str(path) in line
        assert "JSON" in line


class TestAWrongDigest:
    def test_is_named_with_both_digests_and_the_file(self, refused, folder):
        repository = published(folder, make.SAFETENSORS, sha256="0" * 64)
        line = refused("download", "net", "--repository", repository, status=5)
        assert f"expected sha256:{'0' * 64}" in line
        assert f"got sha256:{repositories.sha256(make.SAFETENSORS)}" in line
        assert "net.safetensors" in line

    def test_no_digest_at_all_is_refused(self, refused, folder):
        repository = published(folder, make.SAFETENSORS, sha256=None)
        assert "no digest" in refused("download", "net", "--repository", repository, status=5)


class TestParameters:
    """A perceptron has ``0.weight`` and ``0.bias``; what a file has instead is said with names and both shapes."""

    @pytest.mark.parametrize("engine", each_engine())
    def test_of_another_shape(self, engine, refused, folder):
        repository = mlp(folder, **{"0__weight": (2, 3), "0__bias": (2,)})
        line = refused("predict", "net", vector(folder), "--repository", repository, "--engine", engine, status=5)
        assert "0.weight" in line
        assert "[2, 2]" in line
        assert "[2, 3]" in line

    @pytest.mark.parametrize("engine", each_engine())
    def test_that_are_missing(self, engine, refused, folder):
        repository = mlp(folder, **{"0__weight": (2, 2)})
        line = refused("predict", "net", vector(folder), "--repository", repository, "--engine", engine, status=5)
        assert "missing" in line
        assert "0.bias" in line

    @pytest.mark.parametrize("engine", each_engine())
    def test_that_are_unexpected(self, engine, refused, folder):
        repository = mlp(folder, **{"0__weight": (2, 2), "0__bias": (2,), "2__weight": (2, 2)})
        line = refused("predict", "net", vector(folder), "--repository", repository, "--engine", engine, status=5)
        assert "unexpected" in line
        assert "2.weight" in line

    @pytest.mark.parametrize("engine", each_engine())
    def test_cut_short(self, engine, refused, folder):
        repository = published(folder, make.SAFETENSORS[:-3])
        line = refused("predict", "net", vector(folder), "--repository", repository, "--engine", engine, status=5)
        assert "net.safetensors" in line


ARRAY_OF_OBJECTS = make.name("builtins", "print") + b"(" + make.text("loaded") + b"tR"
NOT_TENSORS = {
    "a-function": make.state_dict({"0.weight": make.name("os", "system")}),
    "a-call": make.state_dict({"0.weight": ARRAY_OF_OBJECTS}),
    "a-call-beside-tensors": make.state_dict({"0.weight": make.tensor((2, 2), (2, 1)), "hook": ARRAY_OF_OBJECTS}),
    "a-whole-network": make.name("torch.nn.modules.linear", "Linear") + b")\x81",
    "text": make.state_dict({"0.weight": make.text("two by two")}),
}


@pytest.mark.parametrize("body", NOT_TENSORS.values(), ids=NOT_TENSORS)
class TestAPthFileThatHoldsMoreThanTensors:
    @pytest.mark.parametrize("engine", each_engine())
    def test_is_refused_by_its_name(self, engine, body, refused, folder):
        (folder / "net.pth").write_bytes(make.pth(body))
        line = refused("predict", "./net.pth", vector(folder), "--factory", "mlp", "--engine", engine, status=5)
        assert "net.pth" in line

    @pytest.mark.parametrize("engine", each_engine())
    def test_in_the_legacy_layout_too(self, engine, body, refused, folder):
        (folder / "net.pth").write_bytes(make.pth_legacy(body, {"0": (6, make.floats(*range(6)))}))
        line = refused("predict", "./net.pth", vector(folder), "--factory", "mlp", "--engine", engine, status=5)
        assert "net.pth" in line


@needs("zoo-pytorch")
class TestAConstructorThatComputes:
    """Parameters are not allocated while a network is built; all else that its constructor makes is computed for real."""

    @pytest.fixture
    def networks(self) -> Any:
        from tests.journeys import computing_networks

        return computing_networks

    @pytest.mark.parametrize("name", ["BufferThatIsNotSaved", "AnchorsInAList", "ItemInTheConstructor"])
    def test_gives_what_it_gives_when_built_eagerly(self, name, networks, tmp_path):
        import torch
        from safetensors.torch import save_file

        import zoo_core as zoo

        torch.manual_seed(3)
        network = getattr(networks, name)
        eager = network().eval()
        save_file(eager.state_dict(), tmp_path / "net.safetensors")
        x = torch.rand(4, 3)
        with zoo.load_model(
            engine="PyTorch", model_path=tmp_path / "net.safetensors", block_factory=networks.Built(network=name)
        ) as model:
            assert torch.equal(model.block(x), eager(x))
            assert not any(tensor.is_meta for tensor in (*model.block.parameters(), *model.block.buffers()))
            with model.new_predictor() as predictor:
                assert predictor.predict(x.numpy()).tolist() == eager(x).tolist()
