"""Classify real photographs in every engine that is installed, from one parameter file, and make a picture of it.

    pip install "zoo-pytorch[demo]" "zoo-mxnet[demo]" scikit-image scikit-learn
    python demo.py

The photographs come with scikit-image and scikit-learn, the weights with an installed package: nothing is downloaded.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont, ImageOps
from rich.console import Console
from rich.table import Table

import zoo_core as zoo

WANTED = zoo.Criteria(application="cv/image_classification", filters={"dataset": "imagenet"})

INSTALL = 'pip install "zoo-pytorch[demo]" "zoo-mxnet[demo]"'

#: Where each photograph lies: an installed package, a folder in it, a file.
PHOTOGRAPHS = (
    ("skimage", "data", "chelsea.png"),
    ("skimage", "data", "coffee.png"),
    ("sklearn", "datasets/images", "flower.jpg"),
    ("skimage", "data", "motorcycle_left.png"),
    ("skimage", "data", "rocket.jpg"),
    ("sklearn", "datasets/images", "china.jpg"),
)


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What the engines say of one photograph: all classes, by the engine's name."""

    photograph: Path
    classes: Mapping[str, zoo.Classifications]

    def rows(self, count: int) -> Iterator[tuple[str, list[float]]]:
        """The best classes of the first engine, each with its probability in every engine."""
        probabilities = [{item.index: item.probability for item in found} for found in self.classes.values()]
        for item in next(iter(self.classes.values())).top(count):
            yield item.name, [by_index[item.index] for by_index in probabilities]

    def largest_difference(self) -> float:
        """How far two engines are apart at most, over all classes."""
        classes = len(next(iter(self.classes.values())))
        return max(max(values) - min(values) for _, values in self.rows(classes))


def main() -> None:
    """Find the model, run it in each engine, show what came."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--output", type=Path, default=Path("build/demo"), help="the folder for the picture")
    output, console = parser.parse_args().output, Console()

    photographs = [located(*where) for where in PHOTOGRAPHS]
    record = next(iter(zoo.search(WANTED)), None)
    if record is None:
        raise SystemExit(f"error: no installed package has a model for the demo: {INSTALL}")
    console.print(f"{record.reference} of {record.repository}, engines: {', '.join(record.engines)}\n", soft_wrap=True)
    found = {engine: classes for engine in record.engines if (classes := classified(photographs, engine, console))}
    if not found:
        raise SystemExit(f"error: no engine is installed: {INSTALL}")
    answers = [
        Answer(photograph=path, classes={engine: classes[number] for engine, classes in found.items()})
        for number, path in enumerate(photographs)
    ]
    console.print(table(answers))
    console.print(f"\n{comparison(answers)}", soft_wrap=True)
    output.mkdir(parents=True, exist_ok=True)
    picture(answers, title=record.artifact_id).save(output / "demo.jpg", quality=78, subsampling=0, optimize=True)
    console.print(f"picture: {output / 'demo.jpg'}", soft_wrap=True)


def located(package: str, folder: str, name: str) -> Path:
    """A file inside an installed package, which is not imported for it."""
    spec = find_spec(package)
    path = Path(next(iter(spec.submodule_search_locations or ())), folder, name) if spec else None
    if path is None or not path.is_file():
        raise SystemExit(f"error: {name} comes with scikit-image and scikit-learn: pip install scikit-image scikit-learn")
    return path


def classified(photographs: Sequence[Path], engine: str, console: Console) -> list[zoo.Classifications]:
    """What one engine says of each photograph; nothing where it is not installed."""
    try:
        with zoo.load_model(WANTED, engine=engine) as model, model.new_predictor() as predictor:
            return [predictor.predict(path) for path in photographs]
    except zoo.EngineNotInstalledError as error:
        console.print(f"without {engine}: {str(error).splitlines()[0]}\n", markup=False)
        return []


def comparison(answers: Sequence[Answer]) -> str:
    """One sentence on how far the engines agree."""
    if len(answers[0].classes) == 1:
        return f"one engine: {next(iter(answers[0].classes))}"
    classes = len(next(iter(answers[0].classes.values())))
    largest = max(answer.largest_difference() for answer in answers)
    return f"largest difference between the engines, over {classes:,} classes of {len(answers)} photographs: {largest:.1e}"


def table(answers: Sequence[Answer], best: int = 3) -> Table:
    """The best classes of each photograph, the engines side by side."""
    engines = list(answers[0].classes)
    shown = Table(header_style="bold")
    shown.add_column("photograph")
    shown.add_column("class")
    for engine in engines:
        shown.add_column(engine, justify="right")
    if len(engines) > 1:
        shown.add_column("difference", justify="right")
    for answer in answers:
        for number, (name, values) in enumerate(answer.rows(best)):
            difference = [f"{max(values) - min(values):.0e}"] if len(engines) > 1 else []
            cells = [name, *(f"{value:.6f}" for value in values), *difference]
            shown.add_row("" if number else answer.photograph.name, *cells, end_section=number == best - 1)
    return shown


# The picture. Lengths are pixels; it is meant to be shown at about half its size.

COLUMNS = 3
MARGIN, GAP, PADDING, RADIUS = 40, 28, 26, 16
HEADER_HEIGHT, PHOTOGRAPH_HEIGHT, LEGEND_HEIGHT = 136, 290, 62
BEST, ROW_HEIGHT, BAR_HEIGHT, PERCENT_WIDTH = 5, 62, 14, 74
CARD_WIDTH, CARD_HEIGHT = 470, PHOTOGRAPH_HEIGHT + LEGEND_HEIGHT + BEST * ROW_HEIGHT + 16

PAPER, CARD, INK, FAINT, TRACK = "#eef1f5", "#ffffff", "#1d2733", "#566272", "#e3e8ee"
COLOURS = ("#c8401c", "#1f6fb2", "#2f7d4f", "#7a4bb0")  # one an engine; each has a contrast of 4.5 or more on white


def picture(answers: Sequence[Answer], title: str) -> Image.Image:
    """The photographs with their best classes as bars, the engines side by side."""
    rows = -(-len(answers) // COLUMNS)
    width = 2 * MARGIN + COLUMNS * CARD_WIDTH + (COLUMNS - 1) * GAP
    height = HEADER_HEIGHT + rows * CARD_HEIGHT + (rows - 1) * GAP + MARGIN
    sheet = Image.new("RGB", (width, height), PAPER)
    draw = ImageDraw.Draw(sheet)
    draw.text((MARGIN, 32), f"{title} in {' and '.join(answers[0].classes)}", INK, font(44))
    draw.text((MARGIN, 88), comparison(answers), FAINT, font(24))
    for number, answer in enumerate(answers):
        row, column = divmod(number, COLUMNS)
        place = MARGIN + column * (CARD_WIDTH + GAP), HEADER_HEIGHT + row * (CARD_HEIGHT + GAP)
        sheet.paste(card(answer), place, rounded((CARD_WIDTH, CARD_HEIGHT), RADIUS))
    return sheet


def card(answer: Answer) -> Image.Image:
    """One photograph above the bars of its best classes."""
    sheet = Image.new("RGB", (CARD_WIDTH, CARD_HEIGHT), CARD)
    with Image.open(answer.photograph) as photograph:
        sheet.paste(ImageOps.fit(photograph.convert("RGB"), (CARD_WIDTH, PHOTOGRAPH_HEIGHT), centering=(0.5, 0.4)))
    draw = ImageDraw.Draw(sheet)
    label(sheet, answer.photograph.name)
    step = (CARD_WIDTH - 2 * PADDING + GAP) // len(answer.classes)
    places = [PADDING + number * step for number in range(len(answer.classes))]
    for x, engine, colour in zip(places, answer.classes, COLOURS, strict=False):
        draw.text((x, PHOTOGRAPH_HEIGHT + 18), engine, colour, font(24))
    for row, (name, values) in enumerate(answer.rows(BEST)):
        y = PHOTOGRAPH_HEIGHT + LEGEND_HEIGHT + row * ROW_HEIGHT
        draw.text((PADDING, y), shortened(name, CARD_WIDTH - 2 * PADDING), INK, font(24))
        for x, value, colour in zip(places, values, COLOURS, strict=False):
            bar(sheet, (x, y + 34), step - GAP, value, colour)
    return sheet


def label(sheet: Image.Image, text: str) -> None:
    """The name of a photograph, in its lower left corner."""
    size = round(font(20).getlength(text)) + 24, 32
    place = 14, PHOTOGRAPH_HEIGHT - 14 - size[1]
    shade = rounded(size, size[1] // 2).point(lambda level: level * 7 // 10)
    sheet.paste(Image.new("RGB", size, INK), place, shade)
    ImageDraw.Draw(sheet).text((place[0] + 12, place[1] + size[1] // 2), text, CARD, font(20), anchor="lm")


def bar(sheet: Image.Image, place: tuple[int, int], width: int, value: float, colour: str) -> None:
    """A probability as a bar with its number at the right."""
    size = width - PERCENT_WIDTH, BAR_HEIGHT
    strip = Image.new("RGB", size, TRACK)
    ImageDraw.Draw(strip).rectangle((0, 0, max(round(value * size[0]), 2), BAR_HEIGHT), colour)
    sheet.paste(strip, place, rounded(size, 4))
    number = place[0] + width, place[1] + BAR_HEIGHT // 2
    ImageDraw.Draw(sheet).text(number, f"{value:.1%}", INK, font(22), anchor="rm")


def shortened(text: str, width: int) -> str:
    """A name that fits into a width."""
    if font(24).getlength(text) <= width:
        return text
    while font(24).getlength(f"{text}…") > width:
        text = text[:-1]
    return f"{text}…"


def rounded(size: tuple[int, int], radius: int) -> Image.Image:
    """A mask with round corners, drawn larger and reduced, so that they are smooth."""
    width, height = size
    mask = Image.new("L", (4 * width, 4 * height))
    ImageDraw.Draw(mask).rounded_rectangle((0, 0, 4 * width - 1, 4 * height - 1), 4 * radius, 255)
    return mask.resize(size, Image.Resampling.LANCZOS)


@cache
def font(size: int) -> ImageFont.FreeTypeFont:
    """The font that comes with Pillow, so that the picture is the same everywhere."""
    return ImageFont.load_default(size)


if __name__ == "__main__":
    try:
        main()
    except zoo.ZooError as error:
        raise SystemExit(f"error: {error}") from error
