"""How long does a download take?

A file of 300 MB from a server on loopback, verified by its sha256: `ModelZoo.download` beside what a user would call instead.
The floor is requests, streamed to a file and hashed on the way. Zoo does more in the same time: it asks for the repository's
index, waits until the file is on the disk, and makes the artifact's folder.

First with no limit, where all that counts is how little is done beside; then with 20 MB/s for each connection and 50 ms before
each answer, as far-away servers have it. A fresh process for each measurement, the variants in turn. Goals are judged by the
least time: what else runs on a machine can only add to it.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

SIZE = 300_000_000
RATE, LATENCY_S = 20e6, 0.05
ROUNDS, SLOW_ROUNDS = 5, 2
SERVER = Path(__file__).parent / "measuring" / "file_server.py"
FOLDER = "model/undefined/org/example/large"
#: Most of a single stream's time that Zoo may take without a limit, and least of the times that it must be faster with one.
MOST, FASTER = 1.15, 5.0

Fetch = Callable[[str, str, Path], object]


# What is measured: each imports what it needs, and gives what takes a repository's address, the sha256 and an empty folder.


def with_zoo() -> Fetch:
    """What is ours."""
    from zoo_core import ModelZoo

    return lambda url, sha256, folder: ModelZoo([url], cache=folder, config=False).download("large", progress=False)


def with_requests() -> Fetch:
    """The floor."""
    import requests

    def fetch(url: str, sha256: str, folder: Path) -> None:
        digest = hashlib.sha256()
        with requests.get(f"{url}{FOLDER}/large.bin", stream=True, timeout=30) as answer, (folder / "f").open("wb") as stream:
            for chunk in answer.iter_content(1 << 20):
                stream.write(chunk)
                digest.update(chunk)
        if digest.hexdigest() != sha256:
            raise ValueError("wrong digest")

    return fetch


def with_pooch() -> Fetch:
    """A downloader of scientific data, which hashes the file afterwards."""
    import pooch

    def fetch(url: str, sha256: str, folder: Path) -> None:
        pooch.retrieve(f"{url}{FOLDER}/large.bin", known_hash=f"sha256:{sha256}", path=folder, fname="f", progressbar=False)

    return fetch


def with_huggingface_hub() -> Fetch:
    """Its own download of an address, which verifies no sha256."""
    os.environ |= {"HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
    from huggingface_hub.file_download import http_get

    def fetch(url: str, sha256: str, folder: Path) -> None:
        with (folder / "f").open("wb") as stream:
            http_get(f"{url}{FOLDER}/large.bin", stream)

    return fetch


VARIANTS = {"zoo": with_zoo, "requests": with_requests, "pooch": with_pooch, "huggingface_hub": with_huggingface_hub}
MODULES = {"zoo": "zoo_core"}


def measure(variant: str, url: str, sha256: str, folder: Path) -> None:
    """Print the seconds of one download; imports are done before."""
    fetch = VARIANTS[variant]()
    if variant == "zoo":
        # The others have imported it by now.
        importlib.import_module("requests")
    began = time.perf_counter()
    fetch(url, sha256, folder)
    print(time.perf_counter() - began)


# How it is measured.


def publish(root: Path) -> str:
    """Write a repository with one large file; gives its sha256."""
    folder = root / FOLDER
    folder.mkdir(parents=True)
    digest = hashlib.sha256()
    with (folder / "large.bin").open("wb") as stream:
        for _ in range(SIZE // 1_000_000):
            chunk = os.urandom(1_000_000)
            stream.write(chunk)
            digest.update(chunk)
    item = {"uri": "large.bin", "sha256": digest.hexdigest(), "size": SIZE}
    document = {
        "metadataVersion": "0.2",
        "resourceType": "model",
        "groupId": "org.example",
        "artifactId": "large",
        "artifacts": [{"version": "1.0", "files": {"parameters": item}}],
    }
    entry = {"path": f"{FOLDER}/metadata.json", "sha256": "", "metadata": document}
    (root / "index.json").write_text(json.dumps({"indexVersion": 1, "documents": [entry]}))
    return digest.hexdigest()


@contextmanager
def serving(root: Path, rate: float, latency_s: float) -> Iterator[str]:
    """The address of a server in a process of its own."""
    command = [sys.executable, str(SERVER), str(root), str(rate), str(latency_s)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield f"http://127.0.0.1:{process.stdout.readline().strip()}/"
        finally:
            process.terminate()


def seconds(variant: str, url: str, sha256: str, folder: Path) -> float:
    """How long one download takes in a fresh process."""
    folder.mkdir()
    try:
        command = [sys.executable, __file__, variant, url, sha256, str(folder)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        return float(done.stdout.split()[-1])
    finally:
        shutil.rmtree(folder)


def times(variants: Sequence[str], rounds: int, url: str, sha256: str, folder: Path) -> dict[str, list[float]]:
    """The seconds of each variant, in turn."""
    taken: dict[str, list[float]] = {variant: [] for variant in variants}
    for _ in range(rounds):
        for variant in variants:
            taken[variant].append(seconds(variant, url, sha256, folder))
    return taken


def show(title: str, taken: Mapping[str, Sequence[float]]) -> None:
    """Print a table."""
    print(title)
    floor = min(taken["requests"])
    for variant, values in taken.items():
        least, median = min(values), statistics.median(values)
        print(f"  {variant:<16} {least:7.2f} s  (median {median:.2f})  {least / floor:6.2f}x of requests")


def goal(text: str, *, is_met: bool) -> None:
    """Print a goal and whether it is met."""
    print(f"  goal: {text}: {'met' if is_met else 'MISSED'}")


def main() -> None:
    """Measure and print."""
    variants = [name for name in VARIANTS if importlib.util.find_spec(MODULES.get(name, name))]
    print(f"download of {SIZE / 1e6:.0f} MB over loopback, with sha256; {platform.machine()}, {os.cpu_count()} cores", end="")
    print(f", load {os.getloadavg()[0]:.1f}, Python {platform.python_version()}\n")
    with TemporaryDirectory() as name:
        root, folder = Path(name, "site"), Path(name, "downloads")
        sha256 = publish(root)
        with serving(root, 0, 0) as url:
            taken = times(variants, ROUNDS, url, sha256, folder)
        show(f"without a limit; {ROUNDS} rounds", taken)
        ratio = min(taken["zoo"]) / min(taken["requests"])
        goal(f"zoo at most {MOST}x of requests: {ratio:.2f}x", is_met=ratio <= MOST)
        for peer in variants[2:]:
            goal(f"zoo ahead of {peer}", is_met=min(taken["zoo"]) < min(taken[peer]))
        with serving(root, RATE, LATENCY_S) as url:
            taken = times(variants[:2], SLOW_ROUNDS, url, sha256, folder)
        show(f"\n{RATE / 1e6:.0f} MB/s for each connection, {LATENCY_S * 1e3:.0f} ms before each answer", taken)
        ratio = min(taken["requests"]) / min(taken["zoo"])
        goal(f"zoo at least {FASTER}x faster than a single stream: {ratio:.2f}x", is_met=ratio >= FASTER)


if __name__ == "__main__":
    if len(sys.argv) == 5:
        measure(sys.argv[1], sys.argv[2], sys.argv[3], Path(sys.argv[4]))
    else:
        main()
