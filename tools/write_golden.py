"""Write golden outputs for a model whose parameter file is of a format that cannot hold them, such as ``.pth``.

The model is run once on a picture that a formula draws, and ``golden.safetensors`` is put beside each document that is named,
which then names it. The picture has 8 bits a channel, so that the file can be packed well, and it is smaller than what the
model was trained on; whatever a network computes wrongly shows there too.

    python tools/write_golden.py efficientnet_lite0 --mean 127 --std 128 --atol 1e-4 FOLDER...
"""

from __future__ import annotations

import argparse
import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save

import zoo_core as zoo
from zoo_core.model import FORMAT
from zoo_core.parameters.header import FORMAT_ENTRY, GOLDEN_ENTRY, GOLDEN_PREFIX

NAME = "golden.safetensors"


def main() -> None:
    """Run the model, and write what it gives beside each document."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="as on the command line of zoo")
    parser.add_argument("folders", nargs="+", type=Path, metavar="FOLDER", help="with the metadata.json of the model")
    parser.add_argument("--engine", default="PyTorch", help="that computes the outputs")
    parser.add_argument("--side", type=int, default=96, help="of the picture, in pixels")
    parser.add_argument("--mean", type=float, default=0.0, help="taken from values of 0 to 255")
    parser.add_argument("--std", type=float, default=255.0, help="by which they are divided then")
    parser.add_argument("--rtol", type=float, default=1e-4)
    parser.add_argument("--atol", type=float, default=1e-5)
    given = parser.parse_args()
    inputs = {"input": ((drawn(given.side) - given.mean) / given.std).astype(np.float32)[None]}
    content = golden(given.model, given.engine, inputs, {"rtol": given.rtol, "atol": given.atol})
    for folder in given.folders:
        (folder / NAME).write_bytes(content)
        name_it(folder / "metadata.json", content)
        print(f"{folder / NAME}: {len(content)} bytes")


def drawn(side: int) -> Any:
    """Coloured waves and a bright square, ``float64[3, side, side]`` of whole numbers from 0 to 255."""
    y, x = np.mgrid[:side, :side] / side
    waves = [np.sin(2 * np.pi * (a * x + b * y)) for a, b in ((3, 1), (-2, 4), (5, 5))]
    picture = np.round(127.5 + 100 * np.stack(waves))
    picture[:, side // 4 : side // 2, side // 3 : side // 2] = 255
    return picture


def golden(model: str, engine: str, inputs: dict[str, Any], tolerances: dict[str, float]) -> bytes:
    """The file: inputs and outputs as a parameter file of ours has them."""
    with zoo.load_model(model, engine=engine) as loaded, loaded.new_predictor() as predictor:
        outputs = predictor.run(inputs)
    tensors = {f"{GOLDEN_PREFIX}input.{name}": array for name, array in inputs.items()}
    tensors |= {f"{GOLDEN_PREFIX}output.{name}": array for name, array in outputs.items()}
    return save(tensors, {FORMAT_ENTRY: FORMAT, GOLDEN_ENTRY: json.dumps(tolerances)})


def name_it(document: Path, content: bytes) -> None:
    """Add the file to every artifact of a document."""
    metadata = json.loads(document.read_text("utf-8"))
    entry = {"uri": NAME, "sha256": hashlib.sha256(content).hexdigest(), "size": len(content)}
    for artifact in metadata["artifacts"]:
        artifact["files"]["golden"] = entry
    document.write_text(json.dumps(metadata, indent=2) + "\n", "utf-8")


if __name__ == "__main__":
    main()
