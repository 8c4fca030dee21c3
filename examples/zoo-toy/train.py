"""Train the toy's model and write its parameter file and its document into the catalogue.

The data are made here: eight colours of CSS with noise. Seeded: the same packages on the same machine give the same file.

    pip install --editable . && python train.py
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import torch
from torch import nn

import zoo_core as zoo

# Source: the basic colour keywords of CSS Color Module Level 3, with orange for want of a colour between red and yellow.
COLOURS = {
    "black": "000000",
    "white": "ffffff",
    "red": "ff0000",
    "orange": "ffa500",
    "yellow": "ffff00",
    "green": "008000",
    "blue": "0000ff",
    "purple": "800080",
}
SEED, STEPS, BATCH, NOISE = 7, 600, 512, 0.12
CATALOGUE = Path(__file__).parent / "zoo_toy/catalogue"
FOLDER = CATALOGUE / "model/tabular/softmax_regression/com/example/toy/toy_colours"


def main() -> None:
    """Train, measure on fresh data, save with a golden sample, and write the document."""
    generator = torch.Generator().manual_seed(SEED)
    torch.manual_seed(SEED)
    net = zoo.block_factory("pytorch.toy_net", classes=len(COLOURS)).new_block(None, None, {})
    optimizer = torch.optim.Adam(net.parameters(), lr=0.05)
    for _ in range(STEPS):
        x, y = samples(generator)
        optimizer.zero_grad()
        # The second term keeps each typical colour among those that it stands for.
        loss = nn.functional.cross_entropy(net(x), y) + 10 * nn.functional.mse_loss(net.typical[y], x)
        loss.backward()
        optimizer.step()
    x, y = samples(generator)
    accuracy = (net(x).argmax(1) == y).double().mean().item()
    model = zoo.Model(net, name="toy_colours", translator="toy_colour", arguments={"names": list(COLOURS)})
    FOLDER.mkdir(parents=True, exist_ok=True)
    file = FOLDER / "toy_colours-1.0.0.safetensors"
    model.save(file, golden=x[:4].numpy())
    (FOLDER / "metadata.json").write_text(json.dumps(document(file, accuracy), indent=2) + "\n", "utf-8")


def samples(generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Colours ``float32[BATCH, 3]`` and their classes ``int64[BATCH]``."""
    typical = torch.tensor([list(bytes.fromhex(text)) for text in COLOURS.values()]) / 255
    y = torch.randint(len(COLOURS), (BATCH,), generator=generator)
    noise = NOISE * torch.randn(BATCH, 3, generator=generator)
    return (typical[y] + noise).clamp(0, 1), y


def document(file: Path, accuracy: float) -> dict[str, object]:
    """The ``metadata.json`` beside the parameter file."""
    return {
        "metadataVersion": "0.2",
        "resourceType": "model",
        "application": "tabular/softmax_regression",
        "groupId": "com.example.toy",
        "artifactId": "toy_colours",
        "name": "Toy colours",
        "description": "Names a colour such as #ff8800; trained by train.py of zoo-toy",
        "website": "https://example.com/zoo-toy",
        "licenses": {"apache": {"name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"}},
        "artifacts": [
            {
                "version": "1.0.0",
                "name": "toy_colours",
                "properties": {"classes": str(len(COLOURS)), "accuracy": f"{accuracy:.3f}"},
                "arguments": {
                    "blockFactory": "toy_net",
                    "classes": len(COLOURS),
                    "translatorFactory": "toy_colour",
                    "names": list(COLOURS),
                },
                "engines": ["PyTorch"],
                "files": {
                    "parameters": {
                        "uri": file.name,
                        "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
                        "size": file.stat().st_size,
                    }
                },
            }
        ],
    }


if __name__ == "__main__":
    main()
