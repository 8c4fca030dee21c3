"""Train ``digits_mlp`` on scikit-learn's handwritten digits and write it, with its documents, into the catalogues.

The data are 1,797 pictures of 8 x 8 pixels with values 0 to 16 (E. Alpaydin, C. Kaynak: Optical Recognition of Handwritten
Digits, UCI Machine Learning Repository, CC BY 4.0). Seeded: the same packages on the same machine give the same
parameters.

    pip install scikit-learn && python tools/train_digits_mlp.py
"""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn

import zoo_core as zoo

ROOT = Path(__file__).resolve().parents[1]
SEED, EPOCHS, BATCH = 20260, 120, 64
HIDDEN = (64, 32)
FILE = "digits_mlp-1.0.0.safetensors"


def main() -> None:
    """Train, measure on data held out, save once, and write a document for each plugin."""
    torch.manual_seed(SEED)
    digits = load_digits()
    pictures = digits.images.astype(np.float32)[:, None]
    train_x, test_x, train_y, test_y = train_test_split(
        pictures, digits.target, test_size=0.25, random_state=SEED, stratify=digits.target
    )
    factory = zoo.block_factory("mlp", engine="PyTorch", inputs=64, hidden=HIDDEN, outputs=10)
    net = factory.new_block(None, None, {})
    train(net, torch.from_numpy(train_x), torch.from_numpy(train_y))
    net.eval()
    with torch.inference_mode():
        accuracy = float((net(torch.from_numpy(test_x)).argmax(1).numpy() == test_y).mean())
    print(f"accuracy on {len(test_y)} pictures held out: {accuracy:.4f}")
    model = zoo.Model(
        net, factory=factory, engine="PyTorch", name="digits_mlp", translator="image_classification", arguments=TRANSLATOR
    )
    for engine in ("pytorch", "mxnet"):
        folder = ROOT / f"plugins/zoo-{engine}/zoo_{engine}/catalogue/model/cv/image_classification/zoo/{engine}/digits_mlp"
        folder.mkdir(parents=True, exist_ok=True)
        if engine == "pytorch":
            written = folder / FILE
            # The two engines differ by 5e-6; other processors may by more.
            model.save(written, golden=test_x[:8], rtol=1e-4, atol=1e-5)
        else:
            shutil.copyfile(written, folder / FILE)
        document = describe(f"zoo.{engine}", folder / FILE, accuracy, len(test_y))
        (folder / "metadata.json").write_text(json.dumps(document, indent=2) + "\n", "utf-8")
        print(f"{(folder / FILE).relative_to(ROOT)}: {document['artifacts'][0]['files']['parameters']}")


TRANSLATOR = {"width": 8, "height": 8, "flag": "GRAYSCALE", "maximum": 16.0, "classes": [str(digit) for digit in range(10)]}


def train(net: nn.Module, x: torch.Tensor, y: torch.Tensor) -> None:
    """Adam with a cosine rate, on the cross entropy."""
    optimizer = torch.optim.Adam(net.parameters(), lr=2e-3, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, EPOCHS)
    loss_of = nn.CrossEntropyLoss()
    for _ in range(EPOCHS):
        for batch in torch.randperm(len(x)).split(BATCH):
            optimizer.zero_grad()
            loss_of(net(x[batch]), y[batch]).backward()
            optimizer.step()
        schedule.step()


def describe(group_id: str, file: Path, accuracy: float, held_out: int) -> dict[str, object]:
    """The document of one plugin; both name the same bytes, so that they are one model."""
    parameters = {
        "uri": FILE,
        "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
        "size": file.stat().st_size,
    }
    properties = {"dataset": "digits", "accuracy": f"{accuracy:.4f}", "held_out": str(held_out)}
    properties["parameters"] = str(64 * 64 + 64 + 64 * 32 + 32 + 32 * 10 + 10)
    return {
        "metadataVersion": "0.2",
        "resourceType": "model",
        "application": "cv/image_classification",
        "groupId": group_id,
        "artifactId": "digits_mlp",
        "name": "Digits MLP",
        "description": "Handwritten digits of 8 x 8 pixels, white on black; trained by tools/train_digits_mlp.py",
        "website": "https://archive.ics.uci.edu/dataset/80",
        "licenses": {"apache": {"name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"}},
        "artifacts": [
            {
                "version": "1.0.0",
                "snapshot": False,
                "name": "digits_mlp",
                "properties": properties,
                "arguments": {
                    "blockFactory": "mlp",
                    "translatorFactory": "image_classification",
                    "inputs": 64,
                    "hidden": list(HIDDEN),
                    "outputs": 10,
                    **TRANSLATOR,
                },
                "engines": ["PyTorch", "MXNet"],
                "files": {"parameters": parameters},
            }
        ],
    }


if __name__ == "__main__":
    main()
