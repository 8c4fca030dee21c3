"""From the address of one file, and from archives of DJL's shape, to a prediction by the command ``zoo``."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests import archives, repositories
from tests.commands import Commands, Done
from tests.installed import needs
from tests.repositories import sha1, sha256
from tests.web import Answer, Site

pytestmark = needs("zoo-pytorch")
np = pytest.importorskip("numpy")

#: A network that gives the mean of each of three channels: class 0 for a red picture, class 2 for a blue one.
TRACE = """
import sys, warnings
warnings.simplefilter("ignore")
import torch
from torch import nn

net = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()
torch.jit.trace(net, torch.zeros(1, 3, 8, 8)).save(sys.argv[1])
"""
#: A multi-layer perceptron in the file that `Model.save` writes.
SAVE = """
import sys
import torch
import zoo_core as zoo
import zoo_pytorch

factory = zoo.block_factory("mlp", engine="PyTorch", inputs=4, hidden=[3], outputs=2)
torch.manual_seed(1)
zoo.Model(factory.new_block(None, None, {}), factory=factory).save(sys.argv[1])
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], bytes]:
    """What a piece of code writes; each runs once, in a process of its own."""
    contents: dict[str, bytes] = {}

    def of(code: str) -> bytes:
        if code not in contents:
            commands = Commands(tmp_path_factory.mktemp("made"))
            path = commands.folder / "made"
            done = commands.run(code, path)
            assert done.status == 0, done.err
            contents[code] = path.read_bytes()
        return contents[code]

    return of


@pytest.fixture
def traced(made: Callable[[str], bytes]) -> bytes:
    return made(TRACE)


@pytest.fixture
def saved(made: Callable[[str], bytes]) -> bytes:
    return made(SAVE)


@pytest.fixture
def row(commands: Commands) -> str:
    """One input of four numbers."""
    commands.cwd.mkdir(parents=True, exist_ok=True)
    np.save(commands.cwd / "x.npy", np.ones((1, 4), np.float32))
    return "x.npy"


@pytest.fixture
def blue(commands: Commands) -> str:
    """A picture."""
    image = pytest.importorskip("PIL.Image")
    commands.cwd.mkdir(parents=True, exist_ok=True)
    image.new("RGB", (20, 10), (0, 0, 255)).save(commands.cwd / "blue.png")
    return "blue.png"


def predicted(done: Done) -> object:
    assert done.status == 0, done.err
    (result,) = done.json["results"]
    return result["arrays"] if "arrays" in result else result["classes"][0]["name"]


# a file --------------------------------------------------------------------------------------------------------------


def test_the_address_of_a_file_is_a_model(commands: Commands, site: Site, saved: bytes, row: str) -> None:
    site.pages["/models/net.safetensors?layers=2"] = saved
    (commands.cwd / "net.safetensors").write_bytes(saved)
    url = f"{site.url}models/net.safetensors?layers=2#sha256={sha256(saved)}"
    here = predicted(commands.zoo("predict", "net.safetensors", row, "--json"))
    assert predicted(commands.zoo("predict", url, row, "--json")) == here
    (record,) = commands.zoo("search", "--repository", url, "--filter", "layers=2", "--json").json["records"]
    assert (record["artifact_id"], record["properties"], record["cached"]) == ("net", {"layers": "2"}, True)
    # A second load asks nobody.
    asked = len(site.requests)
    assert predicted(commands.without_network().zoo("predict", url, row, "--json")) == here
    assert len(site.requests) == asked == 1


def test_without_a_digest_the_warning_has_it_ready_to_be_pasted(commands: Commands, site: Site, saved: bytes, row: str) -> None:
    site.pages["/net.safetensors"] = saved
    done = commands.zoo("predict", f"{site.url}net.safetensors", row, "--json")
    assert predicted(done)
    (warning,) = done.warnings
    digest = warning.partition("#")[2]
    assert commands.zoo("download", f"{site.url}net.safetensors#{digest}").warnings == []


@pytest.mark.parametrize("way", ["zoo.toml", "ZOO_REPOSITORIES", "a path"])
def test_it_may_stand_wherever_a_repository_may(way: str, commands: Commands, site: Site, saved: bytes, row: str) -> None:
    site.pages["/net.safetensors"] = saved
    url = f"{site.url}net.safetensors#sha256={sha256(saved)}"
    arguments, variables = ["predict", "--artifact", "net", row, "--json"], {}
    match way:
        case "zoo.toml":
            (commands.cwd / "zoo.toml").write_text(f'[[repository]]\nurl = "{url}"\n')
        case "ZOO_REPOSITORIES":
            variables["ZOO_REPOSITORIES"] = url
        case "a path":
            (commands.cwd / "net.safetensors").write_bytes(saved)
            arguments += ["--repository", "net.safetensors"]
    assert predicted(commands.zoo(*arguments, **variables))


@pytest.mark.parametrize(
    ("rest", "status", "message"),
    [
        ("net.safetensors#sha256=" + "0" * 64, 5, "expected sha256:" + "0" * 64),
        ("net.safetensors#sha256=" + "0" * 63, 2, "(63) is none"),
        ("net.safetensors?engine=PyTorch", 2, "`engine` cannot be said by an address"),
        ("net.safetensors?trust_programs=true", 2, "`trust_programs` cannot be said by an address"),
        ("gone.safetensors", 4, "the server answered 404"),
        ("net.onnx", 4, "The address of one file ends in"),
        ("moved.safetensors", 4, "a redirect to file:///etc/passwd is not followed"),
    ],
)
def test_what_is_wrong_with_an_address_is_one_clear_error(
    rest: str, status: int, message: str, commands: Commands, site: Site, row: str
) -> None:
    site.pages["/net.safetensors"] = b"something else"
    site.pages["/moved.safetensors"] = Answer(status=302, headers={"Location": "file:///etc/passwd"})
    done = commands.zoo("predict", f"{site.url}{rest}", row)
    assert (done.status, len(done.errors)) == (status, 1)
    assert message in done.errors[0]
    assert commands.kept() == []


# an archive ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["zip", "tgz"])
def test_the_address_of_an_archive_is_a_model_with_what_lies_in_it(
    kind: str, commands: Commands, site: Site, traced: bytes, blue: str
) -> None:
    members = {
        "net/net.pt": traced,
        "net/synset.txt": b"red\ngreen\nblue\n",
        "net/serving.properties": (
            b"engine=PyTorch\nwidth=8\nheight=8\nminWorkers=1\n"
            b"translatorFactory=ai.djl.modality.cv.translator.ImageClassificationTranslatorFactory\noption.mapLocation=true\n"
        ),
        # Nobody asked for it.
        "net/block_factory.py": b"raise SystemExit(99)\n",
    }
    content = archives.zipped(members) if kind == "zip" else archives.tarred(members, mode="w:gz")
    site.pages[f"/net.{kind}"] = content
    url = f"{site.url}net.{kind}#sha256={sha256(content)}"
    refused = commands.zoo("predict", url, blue)
    assert (refused.status, "--trust-programs" in refused.errors[0]) == (6, True)
    done = commands.zoo("predict", url, blue, "--trust-programs", "--json")
    assert predicted(done) == "blue"
    assert done.warnings == []
    told = commands.zoo("info", url).out
    assert "program: torchscript _extra_state (needs --trust-programs)" in told
    assert f"net.{kind}" in told


# a repository of DJL's shape -----------------------------------------------------------------------------------------


@pytest.fixture
def djl(site: Site, traced: bytes) -> str:
    """A repository with documents as DJL's are: programs in archives, class names beside them."""
    folder = "model/cv/image_classification/org/example/torch/tiny"
    packed = archives.zipped({"tiny/tiny.pt": traced, "tiny/synset.txt": b"red\ngreen\nblue\n"})
    plain = archives.tarred({"tiny.pt": traced, "synset.txt": b"rot\ngelb\nblau\n"}, mode="w:gz")
    arguments = {"width": 8, "height": 8, "resize": 8, "centerCrop": True}

    def files(uri: str, content: bytes) -> dict[str, object]:
        site.pages[f"/{folder}/{uri}"] = content
        return {"model": {"uri": uri, "sha1Hash": sha1(content), "name": "", "size": 1}}

    document = repositories.document(
        {"version": "0.0.1", "name": "tiny", "arguments": arguments, "files": files("0.0.1/tiny.zip", packed)},
        {"version": "0.0.2", "name": "tiny", "arguments": arguments, "files": files("0.0.2/tiny.tar.gz", plain)},
        group_id="org.example.torch",
        artifact_id="tiny",
    )
    index = {"indexVersion": 1, "documents": [{"path": f"{folder}/metadata.json", "metadata": document}]}
    site.pages["/index.json"] = json.dumps(index).encode()
    return site.url


def test_programs_in_archives_of_a_repository_are_loaded_and_predict(commands: Commands, djl: str, blue: str) -> None:
    asked = ["--repository", djl, "--translator", "image_classification", "--trust-programs", "--json"]
    assert predicted(commands.zoo("predict", "tiny", blue, *asked)) == "blau"
    assert predicted(commands.zoo("predict", "tiny@0.0.1", blue, *asked)) == "blue"
    before = commands.zoo("info", "tiny", "--repository", djl, "--json").json
    assert before["format"] == "torchscript"


def test_a_repository_that_is_configured_needs_no_further_trust(commands: Commands, djl: str, blue: str) -> None:
    done = commands.zoo("predict", "tiny", blue, "--translator", "image_classification", "--json", ZOO_REPOSITORIES=djl)
    assert predicted(done) == "blau"


def test_the_query_of_a_repository_is_for_all_its_models(commands: Commands, djl: str, blue: str) -> None:
    asked = ["--translator", "image_classification", "--trust-programs", "--json"]
    done = commands.zoo("predict", "tiny", blue, "--repository", f"{djl}?centerCrop=false&resize=4", *asked)
    assert (done.status, "after resizing" in done.errors[0]) == (1, True)
    given = ["--argument", "resize=8", "--argument", "centerCrop=true"]
    assert predicted(commands.zoo("predict", "tiny", blue, "--repository", f"{djl}?centerCrop=false", *asked, *given)) == "blau"
    done = commands.zoo("search", "--repository", f"{djl}?engine=PyTorch")
    assert (done.status, "`engine` cannot be said by an address" in done.errors[0]) == (2, True)


def test_a_folder_with_a_serving_properties_is_a_model(commands: Commands, traced: bytes, blue: str) -> None:
    folder: Path = commands.cwd / "net"
    folder.mkdir()
    (folder / "net.pt").write_bytes(traced)
    (folder / "synset.txt").write_bytes(b"red\ngreen\nblue\n")
    (folder / "serving.properties").write_text("translator: image_classification\nwidth = 8\n! a note\nheight 8\nwidht=3\n")
    done = commands.zoo("predict", "./net", blue, "--json")
    assert predicted(done) == "blue"
    assert done.warnings == ["warning: net: nobody takes the argument 'widht' of its document (did you mean width?)"]
    assert predicted(commands.zoo("predict", "./net", blue, "--argument", 'classes=["x","y","z"]', "--json")) == "z"
