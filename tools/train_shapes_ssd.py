"""Train ``shapes_ssd`` on drawn shapes and write it, with its documents, into the catalogues.

The pictures are those of `drawn_shapes`: shapes drawn on photographs. That makes a demonstration, no detector of real objects.
Seeded: the same packages on the same machine give the same file.

    pip install scikit-image scikit-learn && python tools/train_shapes_ssd.py

Source of the loss: Liu et al., "SSD: Single Shot MultiBox Detector" (2015), https://arxiv.org/abs/1512.02325, section 2.2.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - the name that everyone uses
from average_precision import mean_average_precision
from drawn_shapes import HELD_OUT, NAMES, TRAINING, Drawing, drawings
from torch import Tensor, nn

import zoo_core as zoo

ROOT = Path(__file__).resolve().parents[1]
SEED, PICTURES, EPOCHS, BATCH, RATE = 20264, 5000, 14, 32, 4e-3
HELD_OUT_SEED, HELD_OUT_PICTURES = 40462, 200
FILE = "shapes_ssd-1.0.0.safetensors"
FACTORY = {
    "classes": len(NAMES),
    "backbone": [12, 24, 40],
    "scales": [40, 40],
    "sizes": [[0.22, 0.3], [0.36, 0.42], [0.5, 0.6]],
    "ratios": [1.0],
}
#: An anchor is to find a shape that it overlaps by more than this.
MATCH = 0.5
#: Anchors on the background that count, for each on a shape: those that look most like a shape.
NEGATIVES = 3
TRANSLATOR = {"width": 96, "height": 96, "mean": [0.5], "std": [0.25], "classes": list(NAMES)}


def main() -> None:
    """Train, measure on other photographs, save once, and write a document for each plugin."""
    torch.manual_seed(SEED)
    torch.set_num_threads(1)
    factory = zoo.block_factory("ssd", engine="PyTorch", **FACTORY)
    net = factory.new_block(None, None, {})
    model = zoo.Model(net, factory=factory, name="shapes_ssd", translator="object_detection", arguments=TRANSLATOR)
    started = time.monotonic()
    train(model, list(drawings(PICTURES, SEED, TRAINING)))
    net.eval()
    held_out = list(drawings(HELD_OUT_PICTURES, HELD_OUT_SEED, HELD_OUT))
    precision = measured(model, held_out)
    print(f"mean average precision on {len(held_out)} held-out pictures: {precision:.4f}")
    print(f"{sum(value.numel() for value in net.parameters())} parameters, {time.monotonic() - started:.0f} s")
    write(model, precision, held_out[0])


def train(model: zoo.Model, examples: list[Drawing]) -> None:
    """Adam with one cycle of rates, on pictures that are mirrored at random."""
    pictures, labels, boxes = prepared(model, examples)
    net = model.block
    net.train()
    anchors = net(pictures[:1]).anchors[0]
    targets = [matched(anchors, label, box) for label, box in zip(labels, boxes, strict=True)]
    mirrored = [matched(anchors, label, mirror(box)) for label, box in zip(labels, boxes, strict=True)]
    optimizer = torch.optim.AdamW(net.parameters(), weight_decay=1e-3)
    steps = EPOCHS * -(-len(pictures) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps)
    for epoch in range(EPOCHS):
        total = 0.0
        for batch in torch.randperm(len(pictures)).split(BATCH):
            flips = torch.rand(len(batch)) < 0.5
            x = torch.where(flips[:, None, None, None], pictures[batch].flip(3), pictures[batch])
            chosen = [(mirrored if flip else targets)[number] for number, flip in zip(batch, flips, strict=True)]
            loss = loss_of(net(x), *(torch.stack(parts) for parts in zip(*chosen, strict=True)))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.item() * len(batch)
        print(f"epoch {epoch + 1}: loss {total / len(pictures):.4f}", flush=True)


def prepared(model: zoo.Model, examples: list[Drawing]) -> tuple[Tensor, list[Tensor], list[Tensor]]:
    """Pictures as the translator gives them, and the shapes' labels and boxes, in fractions of the picture."""
    predictor = model.new_predictor()
    context = zoo.TranslatorContext(model=model)
    pictures = [predictor.translator.process_input(context, example.picture)[0] for example in examples]
    labels = [torch.tensor(example.labels) for example in examples]
    boxes = [torch.tensor(example.boxes) / torch.tensor(example.picture.size * 2) for example in examples]
    return torch.from_numpy(np.stack(pictures)), labels, boxes


def mirror(boxes: Tensor) -> Tensor:
    """Boxes after left and right are exchanged."""
    x0, y0, x1, y1 = boxes.unbind(1)
    return torch.stack((1 - x1, y0, 1 - x0, y1), 1)


def matched(anchors: Tensor, labels: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor]:
    """What a picture wants of its anchors.

    Returns:
        The class of each anchor, where 0 is the background, and its offsets.
    """
    overlaps = intersection_over_union(anchors, boxes)
    best, chosen = overlaps.max(1)
    # Each shape has the anchor that fits it best, however badly.
    fittest = overlaps.argmax(0)
    best[fittest], chosen[fittest] = 1.0, torch.arange(len(boxes))
    classes = torch.where(best > MATCH, labels[chosen] + 1, 0)
    return classes, encoded(anchors, boxes[chosen])


def intersection_over_union(anchors: Tensor, boxes: Tensor) -> Tensor:
    """``[anchors, boxes]``."""
    low = torch.maximum(anchors[:, None, :2], boxes[None, :, :2])
    high = torch.minimum(anchors[:, None, 2:], boxes[None, :, 2:])
    common = (high - low).clamp(min=0).prod(2)
    areas = [(corners[:, 2:] - corners[:, :2]).prod(1) for corners in (anchors, boxes)]
    return common / (areas[0][:, None] + areas[1][None] - common)


def encoded(anchors: Tensor, boxes: Tensor) -> Tensor:
    """The offsets that move each anchor to its box, in the variances that the translator has by default."""
    sizes, wanted = anchors[:, 2:] - anchors[:, :2], boxes[:, 2:] - boxes[:, :2]
    moves = (boxes[:, :2] + boxes[:, 2:] - anchors[:, :2] - anchors[:, 2:]) / 2 / sizes
    return torch.cat((moves / 0.1, (wanted / sizes).log() / 0.2), 1)


def loss_of(found: tuple[Tensor, Tensor, Tensor], classes: Tensor, offsets: Tensor) -> Tensor:
    """Cross entropy of the classes and smooth L1 of the offsets, over anchors on shapes and the hardest on the background."""
    scores, given, _ = found
    on_shape = classes > 0
    entropy = F.cross_entropy(scores.transpose(1, 2), classes, reduction="none")
    hardness = entropy.detach().masked_fill(on_shape, -1.0)
    rank = hardness.argsort(1, descending=True).argsort(1)
    counted = on_shape | (rank < NEGATIVES * on_shape.sum(1, keepdim=True))
    distance = F.smooth_l1_loss(given[on_shape], offsets[on_shape], reduction="sum")
    return (entropy[counted].sum() + distance) / on_shape.sum()


def measured(model: zoo.Model, held_out: list[Drawing]) -> float:
    """Mean average precision at an overlap of 0.5; objects count from a small probability on, as the curve needs them."""
    translator = replace(model.translator, threshold=0.01)
    found = model.new_predictor(translator).predict_batch([drawing.picture for drawing in held_out])
    truths = [list(zip(drawing.labels, drawing.boxes, strict=True)) for drawing in held_out]
    return mean_average_precision(found, truths, len(NAMES))


def write(model: zoo.Model, precision: float, example: Drawing) -> None:
    """Save once, and write the document of each plugin."""
    golden = model.translator.process_input(zoo.TranslatorContext(model=model), example.picture)[0][None]
    for engine in ("pytorch", "mxnet"):
        folder = ROOT / f"plugins/zoo-{engine}/zoo_{engine}/catalogue/model/cv/object_detection/zoo/{engine}/shapes_ssd"
        folder.mkdir(parents=True, exist_ok=True)
        if engine == "pytorch":
            written = folder / FILE
            # The two engines differ by 8e-6 where scores reach 12; other processors may by more.
            model.save(written, golden=golden, rtol=1e-4, atol=1e-5)
        else:
            shutil.copyfile(written, folder / FILE)
        document = describe(f"zoo.{engine}", folder / FILE, precision, model.block)
        (folder / "metadata.json").write_text(json.dumps(document, indent=2) + "\n", "utf-8")
        print(f"{(folder / FILE).relative_to(ROOT)}: {document['artifacts'][0]['files']['parameters']}")


def describe(group_id: str, file: Path, precision: float, net: nn.Module) -> dict[str, object]:
    """The document of one plugin; both name the same bytes, so that they are one model."""
    parameters = {
        "uri": FILE,
        "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
        "size": file.stat().st_size,
    }
    return {
        "metadataVersion": "0.2",
        "resourceType": "model",
        "application": "cv/object_detection",
        "groupId": group_id,
        "artifactId": "shapes_ssd",
        "name": "Shapes SSD",
        "description": "Circles, squares, triangles and stars drawn on photographs; a demonstration, not a detector of real "
        "objects. Trained and measured on other photographs by tools/train_shapes_ssd.py",
        "licenses": {"apache": {"name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"}},
        "artifacts": [
            {
                "version": "1.0.0",
                "snapshot": False,
                "name": "shapes_ssd",
                "properties": {
                    "dataset": "drawn_shapes",
                    "map50": f"{precision:.4f}",
                    "held_out": str(HELD_OUT_PICTURES),
                    "parameters": str(sum(value.numel() for value in net.parameters())),
                    "input": str(TRANSLATOR["width"]),
                },
                # The file's header has the factory, whose `classes` is a number, and the translator, whose are names.
                "arguments": {},
                "engines": ["PyTorch", "MXNet"],
                "files": {"parameters": parameters},
            }
        ],
    }


if __name__ == "__main__":
    main()
