"""How long does the command take to start?

`zoo --version` and `zoo search` over the installed catalogue, as ratios to `python -c pass`; next to them the time that Python
needs for importing what a user would call instead. A fresh process for each measurement, in turn, so that what slows the
machine down slows all of them; medians of 7.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # nox starts Python so that it does not do this by itself

from measuring import machine, quick_option

ROUNDS = 7
COMMAND = str(Path(sys.executable).with_name("zoo"))
FLOOR = "python -c pass"
#: What we hold ourselves to, as ratios to the floor.
GOALS = {"zoo --version": 6.0, "zoo search": 12.0}
PEERS = ("importlib.metadata", "requests", "numpy", "huggingface_hub", "timm", "torchvision", "torch", "mxnet")


def commands() -> dict[str, Sequence[str]]:
    """What is measured, by the name under which it is printed."""
    ours = {line: (COMMAND, *line.split()[1:]) for line in GOALS}
    peers = {f"import {name}": (sys.executable, "-c", prepared(name)) for name in PEERS if find_spec(name)}
    return {FLOOR: (sys.executable, "-c", "pass"), **ours, **peers}


def prepared(name: str) -> str:
    """The import of a peer; MXNet uses names that NumPy 1.24 removed."""
    return "import numpy; numpy.bool = bool; import mxnet" if name == "mxnet" else f"import {name}"


def seconds(command: Sequence[str]) -> float:
    """How long one process runs."""
    started = time.perf_counter()
    # Compiled, as an installation by pip is, whatever the one who measures has set.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    subprocess.run(command, check=True, capture_output=True, env=environment)
    return time.perf_counter() - started


def medians(measured: Mapping[str, Sequence[str]], rounds: int) -> dict[str, float]:
    """The median of each command, in seconds; a first run of each, which writes byte code, does not count if others follow."""
    taken: dict[str, list[float]] = {name: [] for name in measured}
    for _ in range(1 + rounds):
        for name, command in measured.items():
            taken[name].append(seconds(command))
    return {name: statistics.median(values[1:] or values) for name, values in taken.items()}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Measure how long commands take to start.")
    quick_option(parser)
    rounds = 0 if parser.parse_args().quick else ROUNDS
    print(f"start-up; {f'medians of {rounds} fresh processes' if rounds else 'a quick run, no figure counts'}\n{machine()}\n")
    found = medians(commands(), rounds)
    for name, duration in found.items():
        ratio = duration / found[FLOOR]
        verdict = f"   goal {GOALS[name]:.0f}x: {'met' if ratio <= GOALS[name] else 'MISSED'}" if name in GOALS else ""
        print(f"{name:<26} {duration * 1e3:8.1f} ms {ratio:8.1f}x{verdict}")


if __name__ == "__main__":
    main()
