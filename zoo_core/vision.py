"""The translator ``image_classification``: a picture to arrays, arrays to classes with probabilities.

NumPy and Pillow are imported when a picture is translated, so that the core can be installed without them.
"""

from __future__ import annotations

import io
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, cast

from zoo_core.errors import InputError, PackageNotInstalledError
from zoo_core.output import Classification, Classifications
from zoo_core.requirements import install_line
from zoo_core.translator import Translator, TranslatorContext

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from PIL.Image import Image

    Array = npt.NDArray[np.generic]
    Floats = npt.NDArray[np.float64]

#: Keys of the file that holds class names, one a line.
CLASS_FILES = ("classes", "synset")
_VISION = "zoo-core[vision]"
#: A picture of 1 x 60,000 pixels, which takes 300 bytes, must not grow to gigabytes when its short side does.
MAX_PIXELS = 1 << 25


@dataclass(frozen=True, kw_only=True)
class ImageClassification(Translator):
    """Turns a picture into ``float32[channels, height, width]`` and logits or probabilities into `Classifications`.

    A picture is a path, bytes, a binary stream, a ``PIL.Image.Image`` or an array ``uint8[height, width]`` or
    ``uint8[height, width, 3]``. It is resized, cropped at the centre, scaled to 0..``maximum``, then ``(x - mean) / std``.

    Attributes:
        width: Pixels of the array.
        height: Pixels of the array.
        flag: ``COLOR`` for three channels RGB, ``GRAYSCALE`` for one.
        resize: The length of the shorter side before the crop, in pixels; True: straight to width x height; False: not resized.
        interpolation: How pixels are resampled.
        center_crop: Cut width x height out of the middle.
        maximum: The value of a white pixel before ``mean`` and ``std``.
        mean: For each channel; one value is for all.
        std: For each channel; one value is for all.
        apply_softmax: The block gives logits.
        classes: Names by index; else they are read from the artifact's file ``classes`` or ``synset``.
    """

    extra_arguments: ClassVar[tuple[str, ...]] = ("application", "normalize")

    width: int = 224
    height: int = 224
    flag: Literal["COLOR", "GRAYSCALE"] = "COLOR"
    resize: bool | int = True
    interpolation: Literal["nearest", "bilinear", "bicubic", "lanczos", "box"] = "bilinear"
    center_crop: bool = False
    maximum: float = 1.0
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    apply_softmax: bool = True
    classes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_size(self.width, self.height)
        check_channels(self.mean, self.std, 3 if self.flag == "COLOR" else 1)

    def with_files(self, files: Mapping[str, Path]) -> ImageClassification:
        """This translator with the class names of the artifact's file taken in."""
        return self if self.classes else replace(self, classes=class_names(files))

    def process_input(self, context: TranslatorContext, x: Any) -> tuple[Array, ...]:
        """The picture as ``float32[channels, height, width]``.

        Raises:
            InputError: It is no picture, or smaller than the crop.
        """
        picture = self._cropped(self._resized(open_picture(x, "RGB" if self.flag == "COLOR" else "L")))
        return (channels_of(picture, self.maximum, self.mean, self.std),)

    def process_output(self, context: TranslatorContext, arrays: tuple[Array, ...]) -> Classifications:
        """The classes of one picture, best first."""
        import numpy as np

        scores = np.asarray(arrays[0], dtype=np.float64).reshape(-1)
        if self.apply_softmax:
            scores = softmax(scores)
        names = self.classes
        if names and len(names) != len(scores):
            raise InputError(f"the model gives {len(scores)} classes, and {len(names)} have names")
        return Classifications(
            Classification(index, names[index] if names else str(index), float(score)) for index, score in enumerate(scores)
        )

    def _resized(self, picture: Image) -> Image:
        from PIL.Image import Resampling

        if self.resize is False:
            return picture
        size = (self.width, self.height)
        if self.resize is not True:
            short, long = sorted(picture.size)
            other = round(self.resize * long / short)
            if self.resize * other > MAX_PIXELS:
                raise InputError(f"a picture of {picture.width} x {picture.height} pixels is too narrow to be resized")
            size = (self.resize, other) if picture.width <= picture.height else (other, self.resize)
        return picture if picture.size == size else picture.resize(size, Resampling[self.interpolation.upper()])

    def _cropped(self, picture: Image) -> Image:
        if picture.size == (self.width, self.height):
            return picture
        if not self.center_crop:
            raise InputError(
                f"the picture has {picture.width} x {picture.height} pixels after resizing, "
                f"and the model takes {self.width} x {self.height}"
            )
        if picture.width < self.width or picture.height < self.height:
            raise InputError(
                f"the picture has {picture.width} x {picture.height} pixels; "
                f"{self.width} x {self.height} cannot be cut out of it"
            )
        left, top = (picture.width - self.width) // 2, (picture.height - self.height) // 2
        return picture.crop((left, top, left + self.width, top + self.height))


def check_size(width: int, height: int) -> None:
    """Refuse a size that no picture is resized to.

    Raises:
        ValueError: It is below 1 pixel or above `MAX_PIXELS`.
    """
    if width < 1 or height < 1 or width * height > MAX_PIXELS:
        raise ValueError(f"width and height must be 1 to {MAX_PIXELS} pixels together, not {width} x {height}")


def check_channels(mean: Sequence[float], std: Sequence[float], channels: int) -> None:
    """Refuse a ``mean`` or ``std`` that does not go with a picture's channels.

    Raises:
        ValueError: It has neither one value nor one for each channel, or a ``std`` is 0.
    """
    for name, values in (("mean", mean), ("std", std)):
        if len(values) not in (1, channels):
            raise ValueError(f"{name} has {len(values)} values; expected one, or one for each of {channels} channels")
    if 0.0 in std:
        raise ValueError("std must not be 0")


def class_names(files: Mapping[str, Path]) -> tuple[str, ...]:
    """The class names in an artifact's file ``classes`` or ``synset``, one a line; none where it has no such file.

    Raises:
        InputError: The file cannot be read.
    """
    path = next((files[key] for key in CLASS_FILES if key in files), None)
    if path is None:
        return ()
    try:
        lines = path.read_text("utf-8").rstrip().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"the class names in {path} cannot be read: {error}") from error
    return tuple(line.strip() for line in lines)


def channels_of(picture: Image, maximum: float, mean: Sequence[float], std: Sequence[float]) -> Array:
    """A picture as ``float32[channels, height, width]``, where white is ``maximum`` before ``(x - mean) / std``."""
    import numpy as np

    pixels = np.asarray(picture, dtype=np.float32)
    channels = pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)
    scaled = channels * np.float32(maximum / 255.0) if maximum != 255.0 else channels
    low, range_ = (np.asarray(values, dtype=np.float32).reshape(-1, 1, 1) for values in (mean, std))
    return np.ascontiguousarray((scaled - low) / range_)


def require_vision() -> None:
    """Make sure that pictures can be opened, made arrays of, and written.

    Raises:
        PackageNotInstalledError: NumPy or Pillow is missing.
    """
    try:
        import numpy  # noqa: F401, ICN001 - only asked for
        import PIL.Image  # noqa: F401
    except ImportError as error:
        raise PackageNotInstalledError(f"pictures need NumPy and Pillow: {install_line([_VISION])}", [_VISION]) from error


def softmax(scores: Floats) -> Floats:
    """Probabilities from logits, along the last axis."""
    import numpy as np

    powers = np.exp(scores - scores.max(-1, keepdims=True))
    shares: Floats = powers / powers.sum(-1, keepdims=True)
    return shares


def open_picture(x: Any, mode: str) -> Image:
    """A picture from whatever a user has, turned upright as its EXIF data says.

    Args:
        x: A path, bytes, a binary stream, a ``PIL.Image.Image``, or ``uint8[height, width]`` or ``uint8[height, width, 3]``.
        mode: ``RGB`` or ``L``.

    Raises:
        InputError: It is no picture.
        PackageNotInstalledError: NumPy or Pillow is missing.
    """
    require_vision()
    from PIL import Image, ImageOps, UnidentifiedImageError

    source = io.BytesIO(x) if isinstance(x, bytes | bytearray) else x
    if hasattr(source, "__array_interface__") and not isinstance(source, Image.Image):
        source = _from_array(source)
    named = f"{os.fspath(x)}: " if isinstance(x, str | os.PathLike) else ""
    if not isinstance(source, str | os.PathLike | Image.Image) and not hasattr(source, "read"):
        raise InputError(f"expected a picture (a path, bytes, a PIL image or an array), not {type(x).__name__}")
    try:
        picture = source if isinstance(source, Image.Image) else Image.open(source)
        return ImageOps.exif_transpose(_in_8_bits(picture, named)).convert(mode)
    except UnidentifiedImageError as error:
        raise InputError(f"{named}this is no picture that Pillow can read") from error
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise InputError(f"{named}the picture cannot be read: {getattr(error, 'strerror', None) or error}") from error


def _in_8_bits(picture: Image, named: str) -> Image:
    """A grey picture of 16 bits scaled to 8; Pillow's own conversion would cut everything above 255 off to white.

    Raises:
        InputError: Its values are 32-bit numbers whose range nobody knows.
    """
    if picture.mode.startswith("I;16"):
        return picture.point(lambda value: value / 257).convert("L")
    if picture.mode in ("I", "F"):
        # A picture of one channel has one pair.
        low, high = cast("tuple[float, float]", picture.getextrema())
        if picture.mode == "F" or low < 0 or high > 65535:
            raise InputError(f"{named}its pixels are 32-bit numbers; expected a picture of 8 or 16 bits a channel")
        return picture.point(lambda value: value / 257).convert("L") if high > 255 else picture.convert("L")
    return picture


def _from_array(array: Any) -> Image:
    import numpy as np
    from PIL import Image

    pixels = np.asarray(array)
    shape: Sequence[int] = pixels.shape
    is_shaped = len(shape) == 2 or (len(shape) == 3 and shape[2] in (3, 4))
    if pixels.dtype != np.uint8 or not is_shaped or not pixels.size:
        raise InputError(
            "expected a picture as uint8[height, width, 3] or uint8[height, width], "
            f"not {pixels.dtype}[{', '.join(map(str, shape))}]"
        )
    return Image.fromarray(np.ascontiguousarray(pixels))
