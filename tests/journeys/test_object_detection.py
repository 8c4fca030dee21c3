"""From a picture to objects with boxes: the detector that both plugins carry, on pictures that it was not trained on."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

import zoo_core as zoo
from tests.installed import ENGINES, any_engine, each_engine, needs
from tests.scripts import script

if TYPE_CHECKING:
    from pathlib import Path

    from tests.commands import Commands

np = pytest.importorskip("numpy", reason="needs an engine: zoo-pytorch or zoo-mxnet")
pytest.importorskip("PIL", reason="needs Pillow")
pytestmark = needs("scikit-image", "scikit-learn")

#: The seed and the number of the held-out pictures in tools/train_shapes_ssd.py.
SEED, COUNT = 40462, 200


@pytest.fixture(scope="module")
def drawings() -> list[Any]:
    """The pictures that the figure in the catalogue was measured on."""
    shapes = script("drawn_shapes")
    return list(shapes.drawings(COUNT, SEED, shapes.HELD_OUT))


def record_of(engine: str) -> zoo.ModelRecord:
    (record,) = zoo.search("shapes_ssd", engine=engine, model_urls=[f"zoo-{engine.lower()}"])
    return record


def detect(engine: str, pictures: list[Any], **fields: Any) -> list[zoo.DetectedObjects]:
    with zoo.load_model(record_of(engine), engine=engine) as model:
        assert model.translator is not None
        translator = replace(model.translator, **fields)  # type: ignore[type-var]  # a translator is a dataclass
        with model.new_predictor(translator) as predictor:
            return predictor.predict_batch(pictures)


@pytest.mark.parametrize("engine", each_engine())
def test_shapes_are_found_as_well_as_the_catalogue_says(engine: str, drawings: list[Any]) -> None:
    found = detect(engine, [drawing.picture for drawing in drawings], threshold=0.01)
    truths = [list(zip(drawing.labels, drawing.boxes, strict=True)) for drawing in drawings]

    measured = script("average_precision").mean_average_precision(found, truths, len(script("drawn_shapes").NAMES))

    properties = record_of(engine).properties
    assert int(properties["held_out"]) == COUNT
    assert measured == pytest.approx(float(properties["map50"]), abs=2e-3)
    assert measured > 0.9


@needs("zoo-pytorch", "zoo-mxnet")
def test_both_engines_find_the_same(drawings: list[Any]) -> None:
    pictures = [drawing.picture for drawing in drawings[:20]]
    for one, other in zip(*(detect(engine, pictures) for engine in ENGINES), strict=True):
        assert [item.name for item in one] == [item.name for item in other]
        for mine, theirs in zip(one, other, strict=True):
            assert mine.probability == pytest.approx(theirs.probability, abs=1e-5)
            assert mine.box == pytest.approx(theirs.box, abs=1e-3)


@pytest.mark.parametrize("engine", each_engine())
def test_a_batch_of_pictures_of_several_sizes_has_the_boxes_of_each(engine: str, drawings: list[Any]) -> None:
    pictures = [drawing.picture for drawing in drawings[:6]]
    assert len({picture.size for picture in pictures}) == 6
    together = detect(engine, pictures)
    alone = [detect(engine, [picture])[0] for picture in pictures]
    for one, other in zip(together, alone, strict=True):
        assert [item.name for item in one] == [item.name for item in other]
        for mine, theirs in zip(one, other, strict=True):
            assert mine.box == pytest.approx(theirs.box, abs=1e-3)


@pytest.mark.parametrize("engine", each_engine())
def test_the_command_prints_what_is_where_in_the_pictures_own_pixels(
    engine: str, drawings: list[Any], commands: Commands, tmp_path: Path
) -> None:
    paths = [tmp_path / f"{number}.png" for number in range(10)]
    for drawing, path in zip(drawings, paths, strict=False):
        drawing.picture.resize((drawing.picture.width * 4, drawing.picture.height * 3)).save(path)

    done = commands.without_network().zoo("predict", "shapes_ssd", *paths, "--engine", engine, "--json")

    assert done.status == 0, done.err
    names, overlap = script("drawn_shapes").NAMES, script("average_precision").overlap
    located = [
        any(
            item["name"] == names[label] and overlap(item["box"], (x0 * 4, y0 * 3, x1 * 4, y1 * 3)) > 0.5
            for item in result["objects"]
        )
        for drawing, result in zip(drawings, done.json["results"], strict=False)
        for label, (x0, y0, x1, y1) in zip(drawing.labels, drawing.boxes, strict=True)
    ]
    assert sum(located) > 0.8 * len(located)


def test_the_parameter_file_alone_is_enough(drawings: list[Any], commands: Commands, tmp_path: Path) -> None:
    engine = any_engine()
    picture, copy = tmp_path / "picture.png", tmp_path / "elsewhere.safetensors"
    drawings[0].picture.save(picture)
    folder = zoo.download(record_of(engine))
    copy.write_bytes(next(folder.glob("*.safetensors")).read_bytes())

    done = commands.without_network().zoo("predict", copy, picture, "--engine", engine, "--json")

    assert done.status == 0, done.err
    (found,) = detect(engine, [drawings[0].picture])
    assert [item["name"] for item in done.json["results"][0]["objects"]] == [item.name for item in found]
    assert json.loads(zoo.read_parameters(copy).header["zoo.engines"]) == ["PyTorch", "MXNet"]


def test_the_command_saves_a_picture_with_the_boxes(drawings: list[Any], commands: Commands, tmp_path: Path) -> None:
    from PIL import Image

    given, saved = tmp_path / "given.png", tmp_path / "saved.jpg"
    drawings[0].picture.resize((600, 500)).save(given)

    done = commands.without_network().zoo("predict", "shapes_ssd", given, "--engine", any_engine(), "--save", saved)

    assert done.status == 0, done.err
    assert f"picture: {saved}" in done.err
    with Image.open(given) as before, Image.open(saved) as after:
        assert after.size == before.size
        assert np.abs(np.asarray(after, dtype=int) - np.asarray(before.convert("RGB"))).max() > 100
    content = given.read_bytes()
    itself = commands.zoo("predict", "shapes_ssd", given, "--save", given)
    assert (itself.status, itself.errors) == (2, [f"error: --save {given}: this is the INPUT itself; name another file"])
    assert given.read_bytes() == content
    both = commands.zoo("predict", "shapes_ssd", given, given, "--save", saved)
    assert (both.status, both.errors) == (2, [f"error: --save {saved}: one picture is written of one INPUT, not of 2"])
