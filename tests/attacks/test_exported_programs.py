"""Hostile programs for PyTorch: each ends in a ParameterError, in a process that lives on, and nothing of it was run."""

from __future__ import annotations

import copy
import io
import json
import os
import pickle
import random
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch: pip install zoo-pytorch")

from torch import nn  # noqa: E402
from zoo_pytorch.expressions import is_guard, is_shape  # noqa: E402
from zoo_pytorch.inspection import CONSTANTS, MODEL, SAMPLES, WEIGHTS, inspect_exported  # noqa: E402

import zoo_core as zoo  # noqa: E402
from tests.engines.pytorch.symbolic import Backbone, export, pictures, pt2, scripted, seeded, torchscript, traced  # noqa: E402

Entries = dict[str, bytes]


class Bomb:
    """Unpickled, it leaves a mark."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (exec, (run(),))


def run() -> str:
    """Python that leaves a mark in the working directory of whoever runs it."""
    return "open('ran','w').close()"


def call() -> str:
    """The same as an expression of names that any place of a program might reach."""
    return "__import__('pathlib').Path('ran').touch()"


@pytest.fixture(scope="module")
def good() -> Entries:
    return unpacked(pt2(export(seeded(Backbone()), pictures())))


def unpacked(content: bytes) -> Entries:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return {name.partition("/")[2]: archive.read(name) for name in archive.namelist()}


def packed(entries: Mapping[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", compression) as archive:
        for name, value in entries.items():
            archive.writestr(f"archive/{name}", value)
    return stream.getvalue()


def edited(entry: str, edit: Callable[[Any], None]) -> Callable[[Entries], None]:
    """Change the JSON of an entry."""

    def change(entries: Entries) -> None:
        document = json.loads(entries[entry])
        edit(document)
        entries[entry] = json.dumps(document).encode()

    return change


def model(edit: Callable[[dict[str, Any]], None]) -> Callable[[Entries], None]:
    return edited(MODEL, edit)


def graph(edit: Callable[[dict[str, Any]], None]) -> Callable[[Entries], None]:
    return model(lambda document: edit(document["graph_module"]["graph"]))


def saved(value: Any) -> bytes:
    stream = io.BytesIO()
    torch.save(value, stream)
    return stream.getvalue()


def pickled_weight(entries: Entries) -> None:
    entries["data/weights/weight_0"] = saved(Bomb())
    edited(WEIGHTS, lambda document: next(iter(document["config"].values())).update(use_pickle=True))(entries)


def pickled_constant(entries: Entries) -> None:
    entries["data/constants/tensor_0"] = saved(Bomb())
    edited(CONSTANTS, lambda document: next(iter(document["config"].values())).update(use_pickle=True))(entries)


def object_constant(prefix: str) -> Callable[[Entries], None]:
    def change(entries: Entries) -> None:
        entries[f"data/constants/{prefix}_0"] = pickle.dumps(Bomb())
        described = {"path_name": f"{prefix}_0", "is_param": False, "use_pickle": True, "tensor_meta": None}
        edited(CONSTANTS, lambda document: document["config"].update(c=described))(entries)

    return change


def bad_object_without_entry(entries: Entries) -> None:
    """The name of an object under the name of an entry that is known."""
    edited(CONSTANTS, lambda document: next(iter(document["config"].values())).update(path_name="opaque_obj_0"))(entries)


def legacy(folder: str) -> Callable[[Entries], None]:
    return lambda entries: entries.update({f"data/{folder}/model.pt": saved(Bomb())})


def samples(entries: Entries) -> None:
    entries[SAMPLES] = saved(((Bomb(),), {}))


def guards(text: str) -> Callable[[Entries], None]:
    return model(lambda document: document.update(guards_code=[text]))


def shape(text: str) -> Callable[[Entries], None]:
    """A symbolic size of the input."""

    def edit(found: dict[str, Any]) -> None:
        found["tensor_values"]["x"]["sizes"][0] = {"as_expr": {"expr_str": text, "hint": {"as_int": 2}}}

    return graph(edit)


def target(name: str) -> Callable[[Entries], None]:
    return graph(lambda found: found["nodes"][0].update(target=name))


def called(name: str, argument: str) -> Callable[[Entries], None]:
    """One more node, which torch would call by whatever name torch has for it."""
    node = {
        "target": name,
        "inputs": [{"name": "", "arg": {"as_string": argument}, "kind": 1}],
        "outputs": [],
        "metadata": {},
        "name": "called",
    }
    return graph(lambda found: found["nodes"].append(node))


def input_name(name: str) -> Callable[[Entries], None]:
    """Another name for the input, everywhere."""

    def change(entries: Entries) -> None:
        text = entries[MODEL].decode()
        entries[MODEL] = text.replace('"x"', json.dumps(name)).encode()

    return change


def weight_name(name: str) -> Callable[[Entries], None]:
    def change(entries: Entries) -> None:
        for entry in (MODEL, WEIGHTS):
            entries[entry] = entries[entry].decode().replace('"fc.bias"', json.dumps(name)).encode()

    return change


def tree(kind: str, context: Any) -> Callable[[Entries], None]:
    """How the outputs are nested."""
    text = json.dumps(
        [1, {"type": kind, "context": context, "children_spec": [{"type": None, "context": None, "children_spec": []}]}]
    )

    def edit(document: dict[str, Any]) -> None:
        for entry in document["graph_module"]["module_call_graph"]:
            if entry["signature"]:
                entry["signature"]["out_spec"] = text

    return model(edit)


def arguments(*names: str) -> Callable[[Entries], None]:
    def edit(document: dict[str, Any]) -> None:
        for entry in document["graph_module"]["module_call_graph"]:
            if entry["signature"]:
                entry["signature"]["forward_arg_names"] = list(names)

    return model(edit)


def keyword_argument(name: str) -> Callable[[Entries], None]:
    leaf = {"type": None, "context": None, "children_spec": []}
    keywords = {"type": "builtins.dict", "context": json.dumps([name]), "children_spec": [leaf]}
    none = {"type": "builtins.tuple", "context": "null", "children_spec": []}
    text = json.dumps([1, {"type": "builtins.tuple", "context": "null", "children_spec": [none, keywords]}])

    def edit(document: dict[str, Any]) -> None:
        for entry in document["graph_module"]["module_call_graph"]:
            if entry["signature"]:
                entry["signature"]["in_spec"] = text

    return model(edit)


def weight(**changes: Any) -> Callable[[Entries], None]:
    return edited(WEIGHTS, lambda document: document["config"]["conv.weight"]["tensor_meta"].update(changes))


def added(name: str, value: bytes = b"") -> Callable[[Entries], None]:
    return lambda entries: entries.update({name: value})


def replaced(name: str, value: bytes) -> Callable[[Entries], None]:
    return lambda entries: entries.update({name: value})


ENUM = json.dumps([{"__enum__": True, "fqn": "mark:Mark", "name": "A"}])
FACTORY = {"default_factory_module": "mark", "default_factory_name": "Mark", "dict_context": ["a"]}

DOCTORED: dict[str, tuple[Callable[[Entries], None], str]] = {
    "a pickled weight": (pickled_weight, "as a pickle, which could run anything"),
    "a pickled constant": (pickled_constant, "as a pickle, which could run anything"),
    "a custom object": (object_constant("custom_obj"), "has the entry 'data/constants/custom_obj_0'"),
    "an opaque object": (object_constant("opaque_obj"), "has the entry 'data/constants/opaque_obj_0'"),
    "an object in place of a tensor": (bad_object_without_entry, "an object and no tensor"),
    "weights of the old layout": (legacy("weights"), r"has the entry 'data/weights/model\.pt'"),
    "constants of the old layout": (legacy("constants"), r"has the entry 'data/constants/model\.pt'"),
    "pickled sample inputs": (samples, "its sample inputs are no tensors"),
    "code in a guard": (guards(call()), "a guard that is more than a comparison"),
    "code behind a guard": (guards(f"L['x'].size()[0] > 2 or {call()}"), "a guard that is more than a comparison"),
    "guards that are no text": (guards([1]), "a guard that is more than a comparison"),  # type: ignore[arg-type]
    "code in a shape": (shape(call()), "more than arithmetic on symbols"),
    "code in a symbol": (shape(f"Symbol({call()})"), "more than arithmetic on symbols"),
    "an attribute in a shape": (shape("Integer(1).__class__"), "more than arithmetic on symbols"),
    "a shape without end": (shape("Pow(Integer(9), Pow(Integer(9), Integer(9)))"), "more than arithmetic on symbols"),
    "a shape of a megabyte": (shape("+".join(["1"] * 500_000)), "more than arithmetic on symbols"),
    "a shape nested deeply": (shape("+".join(["1"] * 9_000)), "more than arithmetic|nested too deeply"),
    "a function of os": (called("torch.os.system", "touch ran"), r"calls 'torch\.os\.system'"),
    "torch.load": (called("torch.load", "file"), r"calls 'torch\.load'"),
    "a shared library": (called("torch.ops.load_library", "evil.so"), r"calls 'torch\.ops\.load_library'"),
    "an attribute of an operator": (target("torch.ops.aten.conv2d.default.__class__"), "no operator that a program may call"),
    "an attribute of a function": (called("_operator.attrgetter", "x"), r"calls '_operator\.attrgetter'"),
    "a file as a tensor": (target("torch.ops.aten.from_file.default"), r"calls 'torch\.ops\.aten\.from_file\.default'"),
    "an operator that calls another": (
        called("torch.ops.higher_order.call_torchbind", "x"),
        "no operator that a program may call",
    ),
    "a registered extension": (target("#x:y"), "calls '#x:y'"),
    "code as the name of an input": (input_name(f"x={call()}"), "no identifier and would become code"),
    "a keyword as the name of an input": (input_name("lambda"), "no identifier and would become code"),
    "code as the name of an argument": (arguments(f"x={call()}"), "no identifier and would become code"),
    "code as a keyword argument": (keyword_argument(f"x={call()}"), "no identifier and would become code"),
    "code as the name of a weight": (weight_name(f'a"){call()}("'), "would become code"),
    "a weight of the class itself": (weight_name("__class__.forward"), "would become code or hide"),
    "a weight named as a method": (weight_name("fc.forward"), "would become code or hide"),
    "an enumeration of a module": (tree("builtins.dict", ENUM), "could import a module"),
    "a factory of a module": (tree("collections.defaultdict", FACTORY), "could import a module"),
    "a class of a library": (tree("transformers.ModelOutput", "null"), "could import a module"),
    "an object among the inputs": (
        graph(lambda found: found["inputs"].append({"as_custom_obj": {"name": "o", "class_fqn": "C"}})),
        "an object of a class of its own",
    ),
    "objects in the graph": (
        graph(lambda found: found.update(custom_obj_values={"o": {"name": "o", "class_fqn": "C"}})),
        "an object of a class of its own",
    ),
    "a symbol that counts": (
        model(lambda document: document.update(range_constraints={"u9999999999": {"min_val": 0, "max_val": 1}})),
        "bounds the symbol",
    ),
    "compiled code": (added("data/aotinductor/model/model.so", b"\x7fELF"), "has the entry 'data/aotinductor/model/model.so'"),
    "another program": (added("models/other.json", b"{}"), r"has the entry 'models/other\.json'"),
    "an entry outside": (added("../../evil", b""), "has the entry"),
    "another format": (replaced("archive_format", b"pt3"), "no archive_format 'pt2'"),
    "another version": (replaced("archive_version", b"1"), "no archive_version '0'"),
    "other byte order": (replaced("byteorder", b"big"), "no byteorder 'little'"),
    "a graph that is no JSON": (replaced(MODEL, b"{"), "is no JSON"),
    "a graph nested without end": (replaced(MODEL, b'{"a":' * 100_000), "is no JSON|nested too deeply"),
    "a graph that is a list": (replaced(MODEL, b"[]"), "has no object"),
    "no graph": (replaced(MODEL, b"{}"), "has no graph"),
    "an operator that torch lacks": (target("torch.ops.aten.no_such_operator.default"), "cannot build the exported program"),
    "a node without inputs": (graph(lambda found: found["nodes"][0].update(inputs=[])), "cannot build the exported program"),
    "weights without end": (weight(sizes=[{"as_int": 2**40}] * 4), "than its shape"),
    "negative sizes": (weight(sizes=[{"as_int": -1}] * 4), "in another way than torch does"),
    "a weight beyond its storage": (weight(storage_offset={"as_int": 10**9}), "than its shape"),
    "a weight of stride 0": (weight(sizes=[{"as_int": 10**9}] * 4, strides=[{"as_int": 0}] * 4), "than its shape"),
    "a weight of no dtype": (weight(dtype=99), "in another way than torch does"),
    "symbols as sizes of a weight": (weight(sizes=[{"as_expr": {"expr_str": call()}}] * 4), "in another way than torch does"),
}

CHILD = """
import json, sys, warnings
warnings.simplefilter("error")
sys.path.insert(0, ".")
from pathlib import Path
import torch
import zoo_core as zoo
from zoo_pytorch import SymbolBlock
from zoo_pytorch.engine import PyTorchEngine

def outcome(path):
    print(path.name, file=sys.stderr, flush=True)
    content = torch.frombuffer(bytearray(path.read_bytes()), dtype=torch.uint8)
    try:
        if path.suffix in (".safetensors", ".pth", ".whole"):
            PyTorchEngine().load_parameters(SymbolBlock(), path)
        else:
            SymbolBlock().set_extra_state(content)
        found = "loaded"
    except zoo.ParameterError as error:
        found = str(error)
    except BaseException as error:
        found = f"!!! {type(error).__name__}: {error}"
    if Path("ran").exists() or "mark" in sys.modules:
        found = "!!! it ran"
        Path("ran").unlink(missing_ok=True)
    return found

print(json.dumps({path.name: outcome(path) for path in sorted(Path("files").iterdir())}))
"""


def outcomes(folder: Path, files: Mapping[str, bytes]) -> dict[str, str]:
    """What becomes of each file in one child process; "" where it ended the process, which then goes on behind it."""
    (folder / "files").mkdir()
    (folder / "mark.py").write_text("class Mark: A = 1\n")
    for name, content in files.items():
        (folder / "files" / name).write_bytes(content)
    done = subprocess.run([sys.executable, "-c", CHILD], cwd=folder, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, f"ended by {done.returncode} at {done.stderr.splitlines()[-1:]}"
    found: dict[str, str] = json.loads(done.stdout.splitlines()[-1])
    return found


def numbered(cases: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for number, name in enumerate(cases):
        yield f"{number:03}", name


@pytest.fixture(scope="module")
def refusals(good: Entries, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The error for each doctored archive; all in one child, since importing PyTorch takes longest."""
    files: dict[str, bytes] = {}
    for number, name in numbered(DOCTORED):
        entries = copy.deepcopy(good)
        DOCTORED[name][0](entries)
        files[number] = packed(entries)
    found = outcomes(tmp_path_factory.mktemp("doctored"), files)
    return {name: found[number] for number, name in numbered(DOCTORED)}


@pytest.mark.parametrize("name", DOCTORED)
def test_a_doctored_archive_is_refused_before_anything_of_it_runs(name: str, refusals: dict[str, str]) -> None:
    import re

    assert re.search(DOCTORED[name][1], refusals[name]), refusals[name]
    assert refusals[name].isprintable()


def test_torch_itself_runs_what_these_archives_hold(good: Entries, tmp_path: Path) -> None:
    """So that the cases above are no straw men: the same files, given to torch.export.load."""
    names = ["a pickled weight", "pickled sample inputs", "code in a shape", "an opaque object", "an enumeration of a module"]
    for name in names:
        entries = copy.deepcopy(good)
        DOCTORED[name][0](entries)
        (tmp_path / f"{name}.pt2").write_bytes(packed(entries))
    (tmp_path / "mark.py").write_text("open('ran','w').close()\nclass Mark: A = 1\n")
    code = """
import logging, sys, warnings
from pathlib import Path
import torch
logging.disable(logging.CRITICAL)
warnings.simplefilter("ignore")
sys.path.insert(0, ".")
ran = []
for path in sorted(Path().glob("*.pt2")):
    try:
        torch.export.load(path)
    except Exception:
        pass
    if Path("ran").exists():
        ran.append(path.stem)
        Path("ran").unlink()
print(ran)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert done.stdout.strip() == str(sorted(names)), done.stderr


def test_a_sound_archive_of_the_same_making_is_loaded(good: Entries, tmp_path: Path) -> None:
    """What is refused above is refused for its one change."""
    assert outcomes(tmp_path, {"good": packed(good)}) == {"good": "loaded"}


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (lambda good: packed(good, zipfile.ZIP_DEFLATED), "compressed or encrypted"),
        (lambda good: packed(good)[:-30], "no whole zip file|has the entry"),
        (lambda good: packed(good)[:100], "no whole zip file"),
    ],
    ids=["compressed", "without its directory", "cut"],
)
def test_a_damaged_archive_is_refused(good: Entries, content: Callable[[Entries], bytes], reason: str) -> None:
    with pytest.raises(zoo.ParameterError, match=reason):
        inspect_exported(memoryview(content(good)))


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_two_entries_of_one_name_are_refused(good: Entries) -> None:
    stream = io.BytesIO(packed(good))
    with zipfile.ZipFile(stream, "a") as archive:
        archive.writestr(f"archive/{MODEL}", b"{}")
    with pytest.raises(zoo.ParameterError, match="have one name"):
        inspect_exported(memoryview(stream.getvalue()))


def test_an_archive_inside_another_format_is_inspected_alike(good: Entries, tmp_path: Path) -> None:
    safetensors = pytest.importorskip("safetensors.torch", reason="needs safetensors")
    pickled_weight(good := copy.deepcopy(good))
    program = torch.frombuffer(bytearray(packed(good)), dtype=torch.uint8)
    files = {
        "a.safetensors": safetensors.save({"_extra_state": program}),
        "b.pth": saved({"_extra_state": program}),
        "c.whole": packed(good),
        "d.safetensors": safetensors.save({"_extra_state": torch.ones(3)}),
        "e.safetensors": safetensors.save({"_extra_state": torch.ones(3, dtype=torch.uint8)}),
        "f.safetensors": safetensors.save({"_extra_state": program[:200].clone()}),
    }
    found = outcomes(tmp_path, files)
    assert all("as a pickle, which could run anything" in found[name] for name in ("a.safetensors", "b.pth", "c.whole")), found
    assert all("!!!" not in text and text != "loaded" for text in found.values()), found


def mutations(content: bytes, count: int, seed: int) -> Iterator[bytes]:
    """A file with bytes replaced, inserted, left out or cut off, as a bad disk or a fuzzer has it."""
    draw = random.Random(seed)
    for _ in range(count):
        edited = bytearray(content)
        for _ in range(draw.choice([1, 1, 3])):
            at = draw.randrange(len(edited) or 1)
            edited = edited or bytearray(1)
            match draw.randrange(4):
                case 0 | 1:
                    edited[at] = draw.randrange(256)
                case 2:
                    edited[at : at + draw.randrange(20)] = draw.randbytes(draw.randrange(8))
                case _:
                    del edited[max(at, 1) :]
        yield bytes(edited)


def mutated_entries(content: bytes, count: int, seed: int) -> Iterator[bytes]:
    """A file with such damage within one entry, whose checksum is right again."""
    draw = random.Random(seed)
    entries = unpacked(content)
    names = sorted(name for name in entries if entries[name] and not name.startswith("data/0"))
    for _ in range(count):
        name = draw.choice(names)
        yield packed(entries | {name: next(mutations(entries[name], 1, draw.randrange(10**9)))})


@pytest.mark.parametrize("kind", ["torch.export", "traced", "scripted"])
def test_a_damaged_program_never_ends_the_process(kind: str, tmp_path: Path) -> None:
    """It is loaded where the damage is in a number that nobody checks, and refused with a ParameterError else."""
    module = seeded(Backbone())
    whole = {
        "torch.export": lambda: pt2(export(module, pictures())),
        "traced": lambda: torchscript(traced(module, pictures())),
        "scripted": lambda: torchscript(scripted(module)),
    }[kind]()
    count = int(os.environ.get("MUTATIONS", "50"))
    damaged = [*mutations(whole, count, seed=1), *mutated_entries(whole, count, seed=2)]
    found = outcomes(tmp_path, {f"{number:05}": content for number, content in enumerate(damaged)})
    assert not {name: text for name, text in found.items() if "!!!" in text}
    assert sum(text != "loaded" for text in found.values()) > count // 4


@pytest.mark.parametrize("kind", ["traced", "scripted"])
def test_what_only_describes_lines_of_code_is_never_read(kind: str, tmp_path: Path) -> None:
    """Damaged, it ended the process within PyTorch 2.13."""
    module = seeded(Backbone())
    whole = torchscript(traced(module, pictures()) if kind == "traced" else scripted(module))
    files = {}
    for seed in range(30):
        entries = unpacked(whole)
        for name in entries:
            if name.endswith(".debug_pkl"):
                entries[name] = next(mutations(entries[name], 1, seed))
        files[f"{seed:02}"] = packed(entries)
    assert set(outcomes(tmp_path, files).values()) == {"loaded"}


@pytest.mark.parametrize(
    "text",
    [
        "Add(Symbol('s0', integer=True, positive=True), Integer(1))",
        "Mul(Integer(2), Symbol('s77', integer=True, positive=True))",
        "Max(Integer(2), FloorDiv(Symbol('s0', integer=True), Integer(-2)))",
        "Pow(Symbol('s0', integer=True, positive=True), Integer(2))",
        "And(StrictGreaterThan(Symbol('s0', integer=True), Integer(3)), StrictLessThan(Symbol('s0'), Integer(9)))",
        "Mul(Float('2.5', precision=53), Symbol('s0'))",
        "s0 + 2*s1 - 3",
        "true",
        "-oo",
    ],
)
def test_shapes_as_torch_writes_them_pass(text: str) -> None:
    assert is_shape(text)


@pytest.mark.parametrize(
    "text",
    [
        "L['x'].size()[2] >= 3",
        "((-2) + L['x'].size()[2]) != 1",
        "6*max(1, (-2) + L['args'][0].size()[2]) > 6",
        "2 <= L['flat_args'][0].size()[0] and L['flat_args'][0].size()[0] <= 64",
        "((L['x'].size()[1] % 4)) == 0",
    ],
)
def test_guards_as_torch_writes_them_pass(text: str) -> None:
    assert is_guard(text)


@pytest.mark.parametrize(
    "text",
    [
        "print(1)",
        "x.size()",
        "L.size()",
        "L['x'].share_memory_()",
        "L['x'].size().__class__",
        "(lambda: 1)()",
        "[1 for _ in ()]",
        "L[print(1)]",
        "f'{print(1)}'",
        "max(1, key=print)",
        "(y := 1)",
        "",
        "1;2",
        "a b",
        None,
    ],
)
def test_what_is_no_arithmetic_does_not_pass(text: str) -> None:
    assert not is_guard(text)
    assert not is_shape(text)


def test_a_network_of_another_kind_than_its_mark_is_refused() -> None:
    from zoo_pytorch import SymbolBlock

    for content in (b'{"torch.aten":', b'{"torch.aten":1}', b"PK\x03\x04", b'{"nodes":[],"arg_nodes":[],"heads":[]}'):
        with pytest.raises(zoo.ParameterError):
            SymbolBlock().set_extra_state(torch.frombuffer(bytearray(content), dtype=torch.uint8))
    assert isinstance(SymbolBlock(), nn.Module)
