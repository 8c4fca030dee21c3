"""The translator image_classification: a picture to arrays, arrays to classes."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from zoo_core import InputError, PackageNotInstalledError
from zoo_core.vision import ImageClassification, open_picture

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)


@pytest.fixture
def np() -> Any:
    pytest.importorskip("PIL")
    return pytest.importorskip("numpy")


def translated(picture: Any, **fields: Any) -> Any:
    """The array of a picture, resized without any blending unless said otherwise."""
    translator = ImageClassification(**{"interpolation": "nearest", **fields})
    (array,) = translator.process_input(None, picture)  # type: ignore[arg-type]  # it looks at no model
    return array


def encoded(np: Any, rows: list[list[Any]], format: str = "PNG", **how: Any) -> bytes:
    """A picture as the bytes of a file."""
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(np.array(rows, dtype=np.uint8)).save(stream, format, **how)
    return stream.getvalue()


# from pixels to numbers ----------------------------------------------------------------------------------------------


def test_a_picture_becomes_three_channels_red_first_from_0_to_1(np: Any) -> None:
    array = translated(encoded(np, [[RED, GREEN], [BLUE, WHITE]]), width=2, height=2)
    assert (array.dtype, array.shape) == (np.float32, (3, 2, 2))
    assert array.tolist() == [[[1, 0], [0, 1]], [[0, 1], [0, 1]], [[0, 0], [1, 1]]]


def test_width_and_height_are_not_mixed_up(np: Any) -> None:
    assert translated(encoded(np, [[RED, GREEN, BLUE]]), width=3, height=1).shape == (3, 1, 3)


def test_grayscale_is_one_channel_weighted_as_the_eye_sees(np: Any) -> None:
    """Source: ITU-R BT.601: 0.299 R + 0.587 G + 0.114 B."""
    array = translated(encoded(np, [[RED, GREEN, BLUE, WHITE]]), width=4, height=1, flag="GRAYSCALE", maximum=255.0)
    assert array.shape == (1, 1, 4)
    assert array.tolist() == [[[76, 150, 29, 255]]]


def test_a_gray_picture_has_three_equal_channels_in_colour(np: Any) -> None:
    assert translated(encoded(np, [[0, 51]]), width=2, height=1, maximum=255.0).tolist() == [[[0, 51]]] * 3


@pytest.mark.parametrize(("maximum", "expected"), [(1.0, 0.2), (255.0, 51.0), (16.0, 3.2)])
def test_white_becomes_the_maximum_and_the_rest_in_proportion(np: Any, maximum: float, expected: float) -> None:
    array = translated(encoded(np, [[51, 255]]), width=2, height=1, flag="GRAYSCALE", maximum=maximum)
    np.testing.assert_allclose(array, [[[expected, maximum]]], rtol=1e-6)


def test_mean_and_deviation_are_those_of_each_channel_after_scaling(np: Any) -> None:
    picture = encoded(np, [[(255, 51, 0)]])
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    expected = [(1.0 - 0.485) / 0.229, (0.2 - 0.456) / 0.224, (0.0 - 0.406) / 0.225]
    np.testing.assert_allclose(translated(picture, width=1, height=1, mean=mean, std=std).reshape(-1), expected, rtol=1e-5)
    one = translated(picture, width=1, height=1, maximum=255.0, mean=(127.0,), std=(128.0,))
    np.testing.assert_allclose(one.reshape(-1), [1.0, -76 / 128, -127 / 128], rtol=1e-6)


# resizing and cropping -----------------------------------------------------------------------------------------------


def test_by_default_it_is_resized_straight_to_the_size(np: Any) -> None:
    array = translated(encoded(np, [[0, 0, 255, 255]] * 2), width=2, height=3, flag="GRAYSCALE")
    assert array.tolist() == [[[0, 1]] * 3]


def test_bilinear_resizing_blends(np: Any) -> None:
    picture = encoded(np, [[0, 100], [100, 200]])
    array = translated(picture, width=1, height=1, flag="GRAYSCALE", maximum=255.0, interpolation="bilinear")
    assert array.tolist() == [[[100]]]


@pytest.mark.parametrize(
    ("size", "resize", "expected"),
    [
        ((5, 3), 4, (7, 4)),
        ((3, 5), 4, (4, 7)),
        ((400, 301), 256, (340, 256)),
        ((4, 4), 2, (2, 2)),
        ((100, 1), 3, (300, 3)),
    ],
)
def test_with_a_number_the_shorter_side_gets_it_and_the_longer_is_rounded(
    np: Any, size: tuple[int, int], resize: int, expected: tuple[int, int]
) -> None:
    picture = np.zeros((size[1], size[0]), np.uint8)
    assert translated(picture, width=expected[0], height=expected[1], resize=resize).shape == (3, expected[1], expected[0])


def test_the_crop_is_cut_out_of_the_middle(np: Any) -> None:
    picture = np.arange(30, dtype=np.uint8).reshape(5, 6)
    array = translated(picture, width=2, height=3, resize=False, center_crop=True, flag="GRAYSCALE", maximum=255.0)
    assert array.tolist() == [[[8, 9], [14, 15], [20, 21]]]


def test_it_is_resized_before_it_is_cropped(np: Any) -> None:
    picture = np.repeat(np.arange(4, dtype=np.uint8), 2)[None].repeat(4, 0)
    array = translated(picture, width=2, height=2, resize=2, center_crop=True, flag="GRAYSCALE", maximum=255.0)
    assert array.tolist() == [[[1, 2], [1, 2]]]


def test_a_picture_of_the_right_size_needs_neither(np: Any) -> None:
    picture = np.array([[7, 8]], np.uint8)
    assert translated(picture, width=2, height=1, resize=False, flag="GRAYSCALE", maximum=255.0).tolist() == [[[7, 8]]]


def test_a_picture_of_another_size_without_resizing_and_crop_is_an_error_with_both_sizes(np: Any) -> None:
    with pytest.raises(InputError, match="the picture has 3 x 2 pixels after resizing, and the model takes 8 x 9"):
        translated(np.zeros((2, 3), np.uint8), width=8, height=9, resize=False)


@pytest.mark.parametrize("size", [(8, 3), (3, 8)])
def test_a_picture_smaller_than_the_crop_is_an_error_with_both_sizes(np: Any, size: tuple[int, int]) -> None:
    with pytest.raises(InputError, match=f"the picture has {size[0]} x {size[1]} pixels; 4 x 4 cannot be cut out of it"):
        translated(np.zeros((size[1], size[0]), np.uint8), width=4, height=4, resize=False, center_crop=True)


def test_the_array_does_not_share_memory_with_the_picture(np: Any) -> None:
    picture = np.full((1, 1), 51, np.uint8)
    array = translated(picture, width=1, height=1, flag="GRAYSCALE", maximum=255.0)
    array[:] = 0
    assert (picture.tolist(), array.flags.c_contiguous) == ([[51]], True)


# every kind of picture -----------------------------------------------------------------------------------------------


def as_stream(content: bytes, path: Path) -> Any:
    return io.BytesIO(content)


def as_pil(content: bytes, path: Path) -> Any:
    from PIL import Image

    return Image.open(io.BytesIO(content))


def as_array(content: bytes, path: Path) -> Any:
    import numpy as np

    return np.array(as_pil(content, path))


@pytest.mark.parametrize(
    "how",
    [lambda content, path: path, lambda content, path: str(path), lambda content, path: content,
     lambda content, path: bytearray(content), as_stream, as_pil, as_array],
    ids=["path", "text", "bytes", "bytearray", "stream", "PIL", "array"],
)  # fmt: skip
def test_a_picture_may_be_a_path_bytes_a_stream_a_pil_image_or_an_array(
    np: Any, tmp_path: Path, how: Callable[[bytes, Path], Any]
) -> None:
    content = encoded(np, [[RED, GREEN], [BLUE, WHITE]])
    path = tmp_path / "picture.png"
    path.write_bytes(content)
    assert translated(how(content, path), width=2, height=2).tolist() == translated(content, width=2, height=2).tolist()


def test_an_array_may_have_one_three_or_four_channels(np: Any) -> None:
    gray, colour = np.array([[51]], np.uint8), np.array([[[51, 102, 153]]], np.uint8)
    with_alpha = np.array([[[51, 102, 153, 0]]], np.uint8)
    found = [translated(array, width=1, height=1, maximum=255.0).reshape(-1).tolist() for array in (gray, colour, with_alpha)]
    assert found == [[51, 51, 51], [51, 102, 153], [51, 102, 153]]


def test_a_part_of_a_larger_array_is_a_picture_too(np: Any) -> None:
    large = np.arange(36, dtype=np.uint8).reshape(6, 6)
    array = translated(large[::2, ::3], width=2, height=3, flag="GRAYSCALE", maximum=255.0)
    assert array.tolist() == [[[0, 3], [12, 15], [24, 27]]]


@pytest.mark.parametrize("mode", ["1", "P", "RGBA", "CMYK", "LA"])
def test_other_colour_models_are_converted(np: Any, mode: str) -> None:
    from PIL import Image

    white = Image.new("RGB", (1, 1), WHITE).convert(mode)
    assert translated(white, width=1, height=1).reshape(-1).tolist() == [1, 1, 1]


@pytest.mark.parametrize(
    ("orientation", "expected"),
    [(1, [[1, 2, 3], [4, 5, 6]]), (2, [[3, 2, 1], [6, 5, 4]]), (3, [[6, 5, 4], [3, 2, 1]]), (6, [[4, 1], [5, 2], [6, 3]]),
     (8, [[3, 6], [2, 5], [1, 4]])],
)  # fmt: skip
def test_a_photograph_is_turned_upright_as_its_exif_data_says(np: Any, orientation: int, expected: list[list[int]]) -> None:
    from PIL import Image

    exif = Image.Exif()
    exif[0x0112] = orientation
    content = encoded(np, [[1, 2, 3], [4, 5, 6]], exif=exif)
    size = {"width": len(expected[0]), "height": len(expected)}
    assert translated(content, **size, flag="GRAYSCALE", maximum=255.0).tolist() == [expected]


# what is no picture --------------------------------------------------------------------------------------------------


def test_a_file_that_is_no_picture_is_an_error_that_names_it(np: Any, tmp_path: Path) -> None:
    (tmp_path / "cat.png").write_text("not a picture at all")
    with pytest.raises(InputError, match=r"cat\.png: this is no picture that Pillow can read"):
        translated(tmp_path / "cat.png")


def test_a_file_that_is_missing_is_an_error_that_names_it(np: Any, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"cat\.png: the picture cannot be read: No such file"):
        translated(str(tmp_path / "cat.png"))


def test_a_folder_is_no_picture(np: Any, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"{tmp_path}: the picture cannot be read"):
        translated(tmp_path)


def test_a_picture_that_is_cut_is_an_error(np: Any) -> None:
    content = encoded(np, [[[number % 256, 0, number // 256] for number in range(400)]] * 50)
    with pytest.raises(InputError, match=r"the picture cannot be read|no picture"):
        translated(content[: len(content) // 2])


@pytest.mark.parametrize(
    "content", [b"", b"hello", b"\x89PNG\r\n\x1a\n", bytes(100)], ids=["empty", "text", "a beginning", "zeros"]
)
def test_bytes_that_are_no_picture_are_an_error(np: Any, content: bytes) -> None:
    for x in (content, io.BytesIO(content)):
        with pytest.raises(InputError, match=r"this is no picture that Pillow can read|the picture cannot be read"):
            translated(x)


@pytest.mark.parametrize(
    "x", [None, 5, 1.5, [1, 2], {"a": 1}, object()], ids=["None", "int", "float", "list", "dict", "object"]
)
def test_something_else_is_an_error_that_says_what_a_picture_is(np: Any, x: object) -> None:
    with pytest.raises(
        InputError, match=rf"expected a picture \(a path, bytes, a PIL image or an array\), not {type(x).__name__}"
    ):
        translated(x)


@pytest.mark.parametrize(
    ("shape", "dtype", "found"),
    [
        ((2, 2), "float32", r"float32\[2, 2\]"),
        ((2, 2, 3), "int64", r"int64\[2, 2, 3\]"),
        ((2,), "uint8", r"uint8\[2\]"),
        ((2, 2, 2), "uint8", r"uint8\[2, 2, 2\]"),
        ((1, 2, 2, 3), "uint8", r"uint8\[1, 2, 2, 3\]"),
        ((0, 2), "uint8", r"uint8\[0, 2\]"),
    ],
)
def test_an_array_that_is_no_picture_is_an_error_with_its_type_and_shape(
    np: Any, shape: tuple[int, ...], dtype: str, found: str
) -> None:
    with pytest.raises(InputError, match=rf"expected a picture as uint8\[height, width, 3\].*not {found}"):
        translated(np.zeros(shape, dtype))


def test_a_picture_made_to_exhaust_memory_is_refused(np: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from PIL import Image

    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    with pytest.raises(InputError, match=r"the picture cannot be read: .*decompression bomb"):
        translated(encoded(np, [[0] * 30]))


# from scores to classes ----------------------------------------------------------------------------------------------


def classified(np: Any, scores: list[float], **fields: Any) -> Any:
    return ImageClassification(**fields).process_output(None, (np.array(scores, np.float32),))  # type: ignore[arg-type]


def test_logits_become_probabilities(np: Any) -> None:
    """The logarithms of 1, 2 and 5, of which the sum is 8."""
    found = classified(np, [0.0, 0.6931472, 1.6094379])
    assert [(item.index, item.name) for item in found] == [(2, "2"), (1, "1"), (0, "0")]
    assert [item.probability for item in found] == pytest.approx([5 / 8, 2 / 8, 1 / 8], abs=1e-6)


def test_large_logits_do_not_overflow(np: Any) -> None:
    found = classified(np, [1000.0, 1000.0, -1000.0])
    assert [item.probability for item in found] == pytest.approx([0.5, 0.5, 0.0])


def test_probabilities_are_taken_as_they_are_without_softmax(np: Any) -> None:
    found = classified(np, [0.25, 0.75], apply_softmax=False, classes=("cat", "dog"))
    assert found.to_dict() == {
        "classes": [{"index": 1, "name": "dog", "probability": 0.75}, {"index": 0, "name": "cat", "probability": 0.25}]
    }


def test_scores_in_any_shape_are_classes_in_a_row(np: Any) -> None:
    found = ImageClassification(apply_softmax=False).process_output(None, (np.array([[[0.5]], [[0.25]]]),))  # type: ignore[arg-type]
    assert [item.probability for item in found] == [0.5, 0.25]


def test_more_or_fewer_names_than_classes_are_an_error(np: Any) -> None:
    with pytest.raises(InputError, match="the model gives 3 classes, and 2 have names"):
        classified(np, [0.0, 1.0, 2.0], classes=("cat", "dog"))


# class names from a file ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["classes", "synset"])
def test_class_names_are_read_from_the_artifacts_file_one_a_line(tmp_path: Path, key: str) -> None:
    (tmp_path / "names.txt").write_text(" tiger cat\r\ndog\n\néel\n\n", "utf-8")
    found = ImageClassification(width=8).with_files({key: tmp_path / "names.txt", "parameters": tmp_path / "x"})
    assert found == ImageClassification(width=8, classes=("tiger cat", "dog", "", "éel"))


def test_names_that_are_given_win_over_the_file(tmp_path: Path) -> None:
    translator = ImageClassification(classes=("cat",))
    assert translator.with_files({"synset": tmp_path / "missing"}) is translator


def test_class_names_that_cannot_be_read_are_an_error_that_names_the_file(tmp_path: Path) -> None:
    (tmp_path / "latin.txt").write_bytes(b"\xe9el")
    for name in ("latin.txt", "missing.txt"):
        with pytest.raises(InputError, match=f"the class names in {tmp_path / name} cannot be read"):
            ImageClassification().with_files({"synset": tmp_path / name})


# fields --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"width": 0}, "width and height must be 1 to 33554432 pixels together, not 0 x 224"),
        ({"height": -1}, "width and height must be 1 to 33554432 pixels together, not 224 x -1"),
        ({"mean": (0.1, 0.2)}, "mean has 2 values; expected one, or one for each of 3 channels"),
        ({"std": ()}, "std has 0 values"),
        ({"flag": "GRAYSCALE", "mean": (0.1, 0.2, 0.3)}, "mean has 3 values; expected one, or one for each of 1 channels"),
        ({"std": (1.0, 0.0, 1.0)}, "std must not be 0"),
    ],
)
def test_fields_that_make_no_sense_are_refused_at_once(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ImageClassification(**fields)


@pytest.mark.parametrize("missing", ["numpy", "PIL"])
def test_without_numpy_or_pillow_the_error_ends_in_the_install_line(monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    if missing == "PIL":
        pytest.importorskip("numpy")
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(PackageNotInstalledError, match=r'pip install "zoo-core\[vision\]"$') as caught:
        ImageClassification().process_input(None, b"x")  # type: ignore[arg-type]
    assert caught.value.missing == ("zoo-core[vision]",)


def test_a_picture_can_be_opened_by_itself(np: Any) -> None:
    assert open_picture(encoded(np, [[RED, GREEN, BLUE]]), "RGB").size == (3, 1)


# pictures that would harm --------------------------------------------------------------------------------------------


def test_a_narrow_picture_is_refused_before_it_grows_to_gigabytes(np: Any) -> None:
    translator = ImageClassification(resize=256, center_crop=True)
    with pytest.raises(InputError, match="1 x 60000 pixels is too narrow to be resized"):
        translator.process_input(None, np.zeros((60000, 1), np.uint8))  # type: ignore[arg-type]


def test_a_picture_of_16_bits_is_the_same_picture_as_one_of_8(np: Any) -> None:
    image = pytest.importorskip("PIL.Image")
    grey = np.arange(64, dtype=np.uint8).reshape(8, 8) * 4
    translator = ImageClassification(width=8, height=8, flag="GRAYSCALE")
    (eight,) = translator.process_input(None, image.fromarray(grey))  # type: ignore[arg-type]
    (sixteen,) = translator.process_input(None, image.fromarray(grey.astype(np.uint16) * 257))  # type: ignore[arg-type]
    np.testing.assert_allclose(sixteen, eight, atol=1 / 255)


def test_a_picture_of_floats_is_refused(np: Any) -> None:
    image = pytest.importorskip("PIL.Image")
    with pytest.raises(InputError, match="32-bit numbers"):
        ImageClassification().process_input(None, image.fromarray(np.zeros((8, 8), np.float32)))  # type: ignore[arg-type]
