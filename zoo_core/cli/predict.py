"""``zoo predict``: load a model and run it on inputs."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from zoo_core.atomic import atomic_path
from zoo_core.cli.load import load, load_options
from zoo_core.cli.output import Output
from zoo_core.cli.select import select_options
from zoo_core.drawing import check_target, drawn
from zoo_core.errors import CriteriaError, InputError
from zoo_core.output import Classifications, DetectedObjects

if TYPE_CHECKING:
    from PIL.Image import Image

    from zoo_core.model import Model, Predictor

#: Wide enough for a probability bar that can be read, and no wider.
_BAR = 20


@click.command("predict")
@click.argument("arguments", nargs=-1, metavar="[MODEL|FILE] INPUT...")
@select_options
@load_options
@click.option("--top", metavar="N", type=click.IntRange(min=1), default=5, show_default=True, help="Print the N best classes.")
@click.option("--save", metavar="PICTURE", type=click.Path(path_type=Path), help="Draw what was found in the one INPUT.")
@click.pass_obj
def command(output: Output, /, arguments: tuple[str, ...], top: int, save: Path | None, **options: Any) -> None:
    """Load a model and run it on inputs: pictures, or .npy and .npz where the model has no translator.

    With --artifact every argument is an INPUT.
    """
    model_text, inputs = _split(arguments, options["artifact"])
    for name in inputs:
        if not Path(name).exists():
            raise CriteriaError(f"input {name}: there is no such file{_rule(options['artifact'])}")
        if Path(name).is_dir():
            raise CriteriaError(f"input {name}: this is a folder, expected a file")
    if save is not None:
        _check_save(save, inputs)
    with load(output, model_text, options) as model, model.new_predictor() as predictor:
        results = []
        for name in inputs:
            found = _predicted(predictor, name)
            results.append({"input": name, **_as_dict(found, top)})
            if not output.is_json:
                _print(output, name, found, top, model)
            if save is not None:
                _save(save, drawn(name, found, top=top))
                output.message(f"picture: {save}")
        if output.is_json:
            record = model.record.to_dict() if model.record else None
            output.document({"model": record, "engine": model.engine, "results": results})


def _rule(artifact: str | None) -> str:
    return " (with --artifact every argument is an INPUT)" if artifact else ""


def _split(arguments: tuple[str, ...], artifact: str | None) -> tuple[str | None, tuple[str, ...]]:
    model, inputs = (None, arguments) if artifact else (arguments[0] if arguments else None, arguments[1:])
    if model is None and not artifact:
        raise CriteriaError("name a model: zoo predict MODEL INPUT...")
    if not inputs:
        raise CriteriaError("name at least one INPUT: zoo predict MODEL INPUT...")
    return model, inputs


def _check_save(path: Path, inputs: tuple[str, ...]) -> None:
    if len(inputs) > 1:
        raise CriteriaError(f"--save {path}: one picture is written of one INPUT, not of {len(inputs)}")
    if path.exists() and path.samefile(inputs[0]):
        raise CriteriaError(f"--save {path}: this is the INPUT itself; name another file")
    check_target(path)


def _save(path: Path, picture: Image) -> None:
    with atomic_path(path) as partial:
        picture.save(partial)


def _predicted(predictor: Predictor, name: str) -> Any:
    if predictor.translator is not None:
        return predictor.predict(name)
    import numpy as np

    if not name.lower().endswith((".npy", ".npz")):
        raise InputError(f"{name}: the model has no translator, so its input is an array in a .npy or .npz file")
    try:
        content = np.load(name, allow_pickle=False)
        arrays = dict(content) if name.lower().endswith(".npz") else content
    except (ValueError, OSError, EOFError) as error:
        raise InputError(f"{name}: no arrays can be read: {error}") from error
    return predictor.predict(arrays)


def _as_dict(found: Any, top: int) -> dict[str, Any]:
    if isinstance(found, Classifications):
        return found.top(top).to_dict()
    if hasattr(found, "to_dict"):
        content: dict[str, Any] = found.to_dict()
        return content
    arrays = found if isinstance(found, Mapping) else {"output": found}
    return {
        "arrays": {
            name: {"dtype": str(array.dtype), "shape": list(array.shape), "values": array.tolist()}
            if hasattr(array, "tolist")
            else array
            for name, array in arrays.items()
        }
    }


def _print(output: Output, name: str, found: Any, top: int, model: Model) -> None:
    output.heading(name, f"{model.name} in {model.engine}")
    if isinstance(found, Classifications):
        for item in found.top(top):
            bar = "█" * round(item.probability * _BAR) if isfinite(item.probability) else ""
            output.line(f"  {item.probability:7.4f}  {bar:<{_BAR}}  {item.index:>4}  {item.name}")
    elif isinstance(found, DetectedObjects):
        for thing in found:
            box = ", ".join(f"{side:.0f}" for side in thing.box)
            output.line(f"  {thing.probability:7.4f}  {thing.index:>4}  {thing.name}  ({box})")
    else:
        output.line(_as_text(found))


def _as_text(found: Any) -> str:
    arrays = found if isinstance(found, Mapping) else {"output": found}
    return "\n".join(
        f"  {key}  {getattr(array, 'dtype', '')}{list(getattr(array, 'shape', []))}\n{array}" for key, array in arrays.items()
    )
