"""What the benchmarks of loading share: fresh processes, what is measured in one, and the table with the goals.

A package below the scripts, so that all that lies beside this folder can be run.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

#: What the kernel tells of this process; on other systems the peak alone is known.
STATUS = Path("/proc/self/status")
#: Tells the processes of a run that it is a quick one.
QUICK = "BENCHMARK_QUICK"


class Loaded(NamedTuple):
    """A network that can be called.

    Attributes:
        network: The engine's own block.
        answer: Takes an array, gives the first output.
        close: Gives its memory back, as far as its user can say so; dropping it comes after.
    """

    network: Any
    answer: Callable[[Any], Any]
    close: Callable[[], None] = lambda: None


#: Loads the network; its imports are done.
Load = Callable[[], Loaded]


@dataclass(frozen=True, kw_only=True)
class Goal:
    """What we hold ourselves to.

    Attributes:
        text: What is compared, and with what.
        ratio: From the results of the variants, the figure that counts.
        least: It must be so much.
        most: It must not be more.
    """

    text: str
    ratio: Callable[[Mapping[str, Results]], float]
    least: float | None = None
    most: float | None = None

    def line(self, found: Mapping[str, Results]) -> str:
        """The goal, what was found, and whether it is met."""
        ratio = self.ratio(found)
        is_met = ratio >= self.least if self.least is not None else ratio <= (self.most or 0.0)
        bound = f"at least {self.least:g}x" if self.least is not None else f"at most {self.most:g}x"
        return f"  goal: {bound} {self.text}: {ratio:.2f}x, {'met' if is_met else 'MISSED'}"


@dataclass(frozen=True, kw_only=True)
class Case:
    """One network, loaded in several ways.

    Attributes:
        title: What it is.
        plugin: The package of ours that must be installed.
        shape: Of the input.
        weights: The size of its parameters in MiB.
        rounds: How many processes each variant gets.
        variants: By name; each does its imports, then gives what is timed.
        prepare: Writes its files into a folder; cases may share it.
        also: What else is measured of it and printed below its table; takes the folder.
    """

    title: str
    plugin: str
    shape: tuple[int, ...]
    weights: float
    variants: Mapping[str, Callable[[Path], Load]]
    prepare: Callable[[Path], None]
    also: Callable[[Path], None] | None = None
    goals: Sequence[Goal] = ()
    rounds: int = 5


@dataclass(frozen=True)
class Results:
    """What the processes of one variant measured, in the order of the rounds."""

    taken: list[dict[str, float]] = field(default_factory=list)

    def least(self, name: str) -> float:
        """The least; what else runs on the machine can only add to a time."""
        return min(result[name] for result in self.taken if name in result)

    def median(self, name: str) -> float:
        """The median."""
        return statistics.median(result[name] for result in self.taken)


def faster(variant: str, than: str, *, least: float) -> Goal:
    """One variant must be ready so many times sooner than another."""
    return Goal(
        text=f"sooner than {than}, for {variant}",
        ratio=lambda found: found[than].least("ready") / found[variant].least("ready"),
        least=least,
    )


def within(variant: str, of: str, *, most: float) -> Goal:
    """One variant may take so many times as long as another until it is ready."""
    return Goal(
        text=f"the time of {of}, for {variant}",
        ratio=lambda found: found[variant].least("ready") / found[of].least("ready"),
        most=most,
    )


def memory_within(variant: str, weights: float, *, most: float) -> Goal:
    """The peak above the imports, when all parameters were read, may be so many times their size."""
    return Goal(
        text="the parameters, peak memory until all are read",
        ratio=lambda found: found[variant].least("read") / weights,
        most=most,
    )


def released(variant: str, weights: float, *, most: float) -> Goal:
    """What stays in memory when the network was used and closed may be so much of its parameters."""
    return Goal(text="the parameters kept after close()", ratio=lambda found: found[variant].least("kept") / weights, most=most)


def is_quick() -> bool:
    """Whether all that is asked is that everything still runs."""
    return QUICK in os.environ


def measure(load: Load, shape: tuple[int, ...]) -> dict[str, float]:
    """What a fresh process does: load, answer, close; gives what it took."""
    import numpy as np

    array = np.random.default_rng(0).random(shape, np.float32)
    # Or whoever happens to make one object too many would pay for looking through all that was imported.
    gc.collect()
    before = forget_peak()
    started = time.perf_counter()
    loaded = load()
    ready = time.perf_counter()
    output = loaded.answer(array)
    answered = time.perf_counter()
    assert output.shape[0] == shape[0], output.shape
    peak = peak_mib()
    loaded.close()
    del loaded, output
    gc.collect()
    memory = {"peak": peak - before, "kept": resident_mib() - before}
    return {"ready": ready - started, "answer": answered - started, **memory}


def measure_memory(load: Load) -> dict[str, float]:
    """What a fresh process does to tell the memory of parameters from that of a computation: load, and read all of them."""
    before = forget_peak()
    network = load().network
    if hasattr(network, "state_dict"):
        for tensor in network.state_dict().values():
            tensor.sum()
    else:
        for parameter in network.collect_params().values():
            parameter.data().sum().asnumpy()
    return {"read": peak_mib() - before}


def forget_peak() -> float:
    """Begin to watch for a new peak; the memory that the process has now, in MiB."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    return peak_mib()


def peak_mib() -> float:
    """The most memory that this process has had since `forget_peak`, in MiB; mapped pages that were read are in it."""
    if STATUS.exists():
        return _status("VmHWM")
    unit = 1024**2 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def resident_mib() -> float:
    """The memory that this process has, in MiB; its peak where that is all the system tells."""
    return _status("VmRSS") if STATUS.exists() else peak_mib()


def _status(key: str) -> float:
    line = next(line for line in STATUS.read_text().splitlines() if line.startswith(f"{key}:"))
    return int(line.split()[1]) / 1024


def in_process(script: str, *arguments: str | Path, home: Path) -> str:
    """Run a script in a fresh process, with a cache of its own."""
    environment = os.environ | {"ZOO_HOME": str(home)}
    return subprocess.run(
        [sys.executable, script, *arguments], stdout=subprocess.PIPE, text=True, env=environment, check=True
    ).stdout


def results(script: str, name: str, case: Case, folder: Path) -> dict[str, Results]:
    """What each variant took, a fresh process for each, in turn, so that what slows the machine down slows all of them."""
    if is_quick():
        once = json.loads(in_process(script, "try", name, folder, home=folder / "home"))
        return {variant: Results([taken]) for variant, taken in once.items()}
    found = {variant: Results() for variant in case.variants}
    for _ in range(case.rounds):
        for variant, taken in found.items():
            taken.taken.append(json.loads(in_process(script, "measure", name, variant, folder, home=folder / "home")))
    for variant, taken in found.items():
        # Memory is the same each time.
        taken.taken[0] |= json.loads(in_process(script, "memory", name, variant, folder, home=folder / "home"))
    return found


def report(case: Case, found: Mapping[str, Results]) -> None:
    """Print a table, and what it says of the goals."""
    (rounds,) = {len(taken.taken) for taken in found.values()}
    print(f"{case.title}, {case.weights:.0f} MiB of parameters, {rounds} round{'s' if rounds > 1 else ''}")
    names = ("ready", "median", "answer", "median", "MiB: read", "answer", "closed")
    print(f"  {'':<26}" + "".join(f"{name:>12}" for name in names))
    for variant, taken in found.items():
        times = [kind(name) * 1e3 for name in ("ready", "answer") for kind in (taken.least, taken.median)]
        sizes = [taken.least(name) for name in ("read", "peak", "kept")]
        print(f"  {variant:<26}" + "".join(f"{ms:>9.1f} ms" for ms in times) + "".join(f"{mib:>12.0f}" for mib in sizes))
    for goal in case.goals:
        print(goal.line(found))
    print(flush=True)


def machine() -> str:
    """Where this was measured, and with what."""
    here = f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, Python {platform.python_version()}"
    packages = []
    for name in ("zoo-core", "zoo-pytorch", "zoo-mxnet", "torch", "mxnet", "numpy"):
        with suppress(PackageNotFoundError):
            packages.append(f"{name} {version(name)}")
    return ", ".join([here, *packages])


def run(script: str, title: str, cases: Mapping[str, Case]) -> None:
    """Do what the command line says: one measurement, or all of them in processes of their own.

    Args:
        script: The file that calls this; it is started again for each measurement.
        title: What is measured.
        cases: By name; one whose plugin is missing is left out. Names on the command line choose some.
    """
    match sys.argv[1:]:
        case ["prepare", folder, *names]:
            for prepare in dict.fromkeys(cases[name].prepare for name in names):
                prepare(Path(folder))
        case ["measure", name, variant, folder]:
            print(json.dumps(measure(cases[name].variants[variant](Path(folder)), cases[name].shape)))
        case ["memory", name, variant, folder]:
            print(json.dumps(measure_memory(cases[name].variants[variant](Path(folder)))))
        case ["try", name, folder]:
            print(json.dumps(_tried(cases[name], Path(folder))))
        case _:
            _run_all(script, title, _chosen(title, cases))


def _tried(case: Case, folder: Path) -> dict[str, dict[str, float]]:
    """What all variants take in this one process."""
    return {
        variant: measure(start(folder), case.shape) | measure_memory(start(folder)) for variant, start in case.variants.items()
    }


def quick_option(parser: argparse.ArgumentParser) -> None:
    """Add the option that asks for a quick run."""
    parser.add_argument("--quick", action="store_true", help="once each and small, to see that all runs; no figure counts")


def _chosen(title: str, cases: Mapping[str, Case]) -> dict[str, Case]:
    parser = argparse.ArgumentParser(description=f"Measure {title}.")
    parser.add_argument("case", nargs="*", help=f"one of {', '.join(cases)}; none: all")
    quick_option(parser)
    arguments = parser.parse_args()
    unknown = [name for name in arguments.case if name not in cases]
    if unknown:
        parser.error(f"no case is named {', '.join(unknown)}; there are {', '.join(cases)}")
    if arguments.quick:
        os.environ[QUICK] = "1"
    return {name: case for name, case in cases.items() if not arguments.case or name in arguments.case}


def _run_all(script: str, title: str, cases: Mapping[str, Case]) -> None:
    print(f"{title}\n{machine()}\n", flush=True)
    if is_quick():
        print("a quick run: it shows that everything runs, and no figure counts\n", flush=True)
    found = {name: case for name, case in cases.items() if find_spec(case.plugin)}
    for name, case in cases.items():
        if name not in found:
            print(f"{case.title}: left out, {case.plugin.replace('_', '-')} is not installed\n", flush=True)
    with TemporaryDirectory() as temporary:
        folder = Path(temporary)
        in_process(script, "prepare", folder, *found, home=folder / "home")
        for name, case in found.items():
            report(case, results(script, name, case, folder))
            if case.also:
                case.also(folder)
    print(f"load at the end: {os.getloadavg()[0]:.1f}; above the number of cores it means that something else was running too")


def imported(engine: str) -> Any:
    """Zoo with everything that a load in this engine imports."""
    plugin = f"zoo_{engine.lower()}"
    theirs = ("packaging.requirements", "packaging.specifiers")
    ours = ("zoo_core.loader", "zoo_core.default", "zoo_core.vision", "zoo_core.parameters.values")
    for name in (*theirs, *ours, f"{plugin}.engine", f"{plugin}.factories", f"{plugin}.networks.resnet"):
        import_module(name)
    return import_module("zoo_core")


def imported_on_meta(folder: Path) -> None:
    """What torch and safetensors import when parameters are first initialised on the meta device, and a file is first read."""
    import torch
    from safetensors.torch import load_file, save

    for initialise in (torch.Tensor.uniform_, torch.Tensor.normal_, torch.Tensor.zero_, torch.Tensor.erfinv_):
        initialise(torch.empty(1, device="meta"))
    (folder / "small.safetensors").write_bytes(save({"small": torch.zeros(1)}))
    load_file(folder / "small.safetensors")


def torch_answer(network: Any) -> Callable[[Any], Any]:
    """What runs a PyTorch module on an array."""
    import torch

    def answer(array: Any) -> Any:
        with torch.inference_mode():
            return network(torch.from_numpy(array)).numpy()

    return answer


def mxnet_answer(network: Any) -> Callable[[Any], Any]:
    """What runs a Gluon block on an array."""
    from zoo_mxnet.framework import mx

    network.hybridize()
    return lambda array: network(mx.nd.array(array)).asnumpy()
