"""What does a question cost in a repository of so many artifacts?

A repository with an index is served on loopback. Measured is how long it takes to be listed for the first time, and when one
document has changed; and then questions, each in a fresh process that finds the repository known: by id, by a filter, by words,
and for what is not there. The floor is a process that opens the same file and reads one row; the peer decodes the whole index
and looks for an id in it.

    python benchmarks/catalogue.py [SIZE ...]        # 100 10000 100000

A million takes minutes and 3 GB in the folder for temporary files, so it is measured where it is named.

Medians of some rounds, the sizes and questions in turn. What is judged is the whole process, from its start to its end.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import platform
import random
import shutil
import sqlite3
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from tempfile import TemporaryDirectory

SIZES = (100, 10_000, 100_000)
#: Measured where it is named.
MILLION = 1_000_000
ROUNDS = 5
#: The most artifacts for which the peer is measured, which needs ten times the memory of the index.
MOST_FOR_PEER = 100_000
#: How much dearer a question may be among the larger than among the smaller number.
SMALL, LARGE, MOST = 100, 100_000, 2.0
FAMILIES = (
    "resnet",
    "vgg",
    "distilbert",
    "bert",
    "efficientnet",
    "mobilenet",
    "vit",
    "deit",
    "swin",
    "densenet",
    "unet",
    "gpt2",
)
DATA = ("imagenet", "cifar10", "coco", "squad")


# What is served.


def artifact_id(number: int) -> str:
    """The id of one of them."""
    return f"{FAMILIES[number % len(FAMILIES)]}-{number:07}"


def entry(number: int, words: str = "") -> str:
    """An entry of the index, as long as real ones are."""
    chance = random.Random(number)
    name, data, team = artifact_id(number), chance.choice(DATA), number % 997
    group = f"com.example.team{team}"
    properties = {"dataset": data, "layers": chance.choice(("18", "34", "50", "101")), "serial": str(number)}
    file = {"uri": "net.safetensors", "size": 4321 * number, "sha256": hashlib.sha256(name.encode()).hexdigest()}
    document = {
        "metadataVersion": "0.2",
        "resourceType": "model",
        "application": "cv/image_classification",
        "groupId": group,
        "artifactId": name,
        "name": name.capitalize(),
        "description": f"A model that team {team} trained on {data}; its top-1 accuracy is {chance.random():.2%}. {words}",
        "licenses": {"license": {"name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"}},
        "artifacts": [{"version": "1.0.0", "properties": properties, "engines": ["PyTorch"], "files": {"parameters": file}}],
    }
    text = json.dumps(document, separators=(",", ":"))
    path = f"model/cv/image_classification/{group.replace('.', '/')}/{name}/metadata.json"
    return json.dumps({"path": path, "sha256": hashlib.sha256(text.encode()).hexdigest()})[:-1] + f',"metadata":{text}}}'


def publish(path: Path, size: int, words: str = "") -> int:
    """Write the compressed index; `words` stand in one document. Gives the bytes that it has uncompressed."""
    written = 0
    with gzip.open(path, "wt", compresslevel=1, encoding="utf-8") as stream:
        written += stream.write('{"indexVersion":1,"documents":[')
        for number in range(size):
            written += stream.write(("," if number else "") + entry(number, words if number == size // 2 else ""))
        written += stream.write("]}")
    return written


@contextmanager
def serving(path: Path) -> Iterator[str]:
    """Serve a file, whatever it holds by then, as the index of a repository."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            etag = f'"{path.stat().st_mtime_ns}"'
            if self.path != "/index.json" or self.headers.get("If-None-Match") == etag:
                self.send_response(304 if self.path == "/index.json" else 404)
                self.end_headers()
                return
            self.send_response(200)
            for name, value in (("ETag", etag), ("Content-Encoding", "gzip"), ("Content-Length", str(path.stat().st_size))):
                self.send_header(name, value)
            self.end_headers()
            with path.open("rb") as stream:
                shutil.copyfileobj(stream, self.wfile)

        def log_message(self, format: str, *arguments: object) -> None:
            """Nobody reads it."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


# What is measured, each in a process of its own.

ZOO = """
import resource, sys, zoo_core
url, home, refresh, action = sys.argv[1:5]
zoo = zoo_core.ModelZoo([url], cache=home, config=False, refresh=bool(refresh))
try:
    found = eval(action)
except zoo_core.ModelNotFoundError as error:
    found = error.explanation.refused
assert found, action
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""
FLOOR = """
import resource, sqlite3, sys
connection = sqlite3.connect(f"file:{sys.argv[1]}?mode=ro&immutable=1", uri=True)
assert connection.execute("SELECT content FROM contents WHERE id = ?", (int(sys.argv[2]),)).fetchone()
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""
PEER = """
import gzip, msgspec, resource, sys
with gzip.open(sys.argv[1]) as stream:
    documents = msgspec.json.decode(stream.read())["documents"]
assert [item for item in documents if item["metadata"]["artifactId"] == sys.argv[2]]
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def questions(size: int) -> dict[str, str]:
    """What is asked; each has one answer, or none, however many artifacts there are."""
    number = size // 3
    name, data = artifact_id(number), data_of(number)
    return {
        "by id": f"zoo.search({name!r})",
        "by application and filter": f"zoo.search(application='cv', filters={{'dataset': {data!r}, 'serial': {number}}})",
        "by words": f"zoo.search(text='team {name[-9:]}')",
        "not found, misspelt": f"zoo.download({name[:-4] + 'x' + name[-3:]!r})",
        "not found, far off": "zoo.download('zebra', engine='MXNet')",
    }


def data_of(number: int) -> str:
    """The data set of one of them."""
    return str(json.loads(entry(number))["metadata"]["artifacts"][0]["properties"]["dataset"])


def run(code: str, *arguments: object) -> tuple[float, float]:
    """Seconds and MB of a process."""
    began = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code, *map(str, arguments)], check=True, capture_output=True, text=True)
    return time.perf_counter() - began, int(done.stdout) / (1e6 if sys.platform == "darwin" else 1e3)


def medians(taken: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Of the seconds and of the MB."""
    return statistics.median(seconds for seconds, _ in taken), statistics.median(memory for _, memory in taken)


def listed(size: int, folder: Path, url: str, index: Path) -> Path:
    """Print what it takes to take in so many artifacts, and one of them anew; gives the file in the cache."""
    length = publish(index, size)
    print(f"\n{size:,} artifacts; the index has {length / 1e6:.1f} MB, compressed {index.stat().st_size / 1e6:.1f} MB")
    show("first listing", run(ZOO, url, folder, "", "zoo.search(artifact_id='none') or True"))
    publish(index, size, "quokka")
    show("one document changed", run(ZOO, url, folder, "1", "zoo.search(text='quokka')"))
    (known,) = (folder / "index").glob("*.sqlite")
    print(f"  {'the file':<28} {known.stat().st_size / 1e6:8.1f} MB")
    if size <= MOST_FOR_PEER:
        show("peer: msgspec, all of it", run(PEER, index, artifact_id(size // 3)))
    # What was served is not needed any more, and large.
    index.write_bytes(b"")
    return known


def asked(known: dict[int, Path], url: str) -> dict[int, dict[str, tuple[float, float]]]:
    """Seconds and MB by size and question, in turn, so that what slows the machine down slows all of them."""
    taken: dict[int, dict[str, list[tuple[float, float]]]] = {
        size: {name: [] for name in ("floor", *questions(size))} for size in known
    }
    for _ in range(ROUNDS):
        for size, path in known.items():
            taken[size]["floor"].append(run(FLOOR, path, size // 3 + 1))
            for name, action in questions(size).items():
                taken[size][name].append(run(ZOO, url, path.parent.parent, "", action))
    return {size: {name: medians(values) for name, values in found.items()} for size, found in taken.items()}


def show(name: str, values: tuple[float, float], floor: float = 0.0) -> None:
    """Print one line."""
    ratio = f"{values[0] / floor:8.1f}x of the floor" if floor else ""
    print(f"  {name:<28} {values[0] * 1e3:8.0f} ms {values[1]:8.0f} MB {ratio}", flush=True)


def main() -> None:
    """Measure and print."""
    sizes = [int(text) for text in sys.argv[1:]] or SIZES
    print(f"questions to a catalogue; {platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}", end="")
    print(f", Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}; medians of {ROUNDS} fresh processes")
    if not sys.argv[1:]:
        print(f"a million, which takes minutes and 3 GB: python benchmarks/catalogue.py {MILLION}")
    with TemporaryDirectory() as name, serving(Path(name, "index.json.gz")) as url:
        # What is known is young, so that the questions ask nobody.
        known = {size: listed(size, Path(name, str(size)), url, Path(name, "index.json.gz")) for size in sizes}
        found = asked(known, url)
    for size, values in found.items():
        print(f"\namong {size:,}")
        for question, each in values.items():
            show(question, each, floor=values["floor"][0])
    if SMALL in found and LARGE in found:
        print(f"\ngoal: among {LARGE:,} at most {MOST:.0f}x of the time among {SMALL}")
        for name in found[SMALL]:
            ratio = found[LARGE][name][0] / found[SMALL][name][0]
            print(f"  {name:<28} {ratio:8.2f}x {'met' if ratio <= MOST else 'MISSED'}")


if __name__ == "__main__":
    main()
