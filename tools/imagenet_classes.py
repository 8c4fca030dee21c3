"""Write the names of ImageNet's 1,000 classes into the catalogues of the plugins.

The names are facts, read out of torchvision's wheel (BSD-3-Clause), ``torchvision/models/_meta.py``, without importing it:

    python tools/imagenet_classes.py
"""

from __future__ import annotations

import ast
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TARGETS = sorted(
    ROOT / f"plugins/zoo-{engine}/zoo_{engine}/catalogue/model/cv/image_classification/zoo/{engine}/imagenet_classes.txt"
    for engine in ("pytorch", "mxnet")
)
MODULE = "torchvision/models/_meta.py"
LIST = "_IMAGENET_CATEGORIES"


def main() -> None:
    """Download the wheel, read the list, and write one name a line."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", folder, "torchvision"], check=True)
        (wheel,) = Path(folder).glob("*.whl")
        source = zipfile.ZipFile(wheel).read(MODULE).decode()
    names = next(
        ast.literal_eval(node.value)
        for node in ast.parse(source).body
        if isinstance(node, ast.Assign) and any(isinstance(target, ast.Name) and target.id == LIST for target in node.targets)
    )
    for target in TARGETS:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text("".join(f"{name}\n" for name in names), "utf-8")
        print(f"{target.relative_to(ROOT)}: {len(names)} names")


if __name__ == "__main__":
    main()
