"""The environments that Zoo is tested in, and what is done in each; `make` calls this, `nox --list` shows it all.

Several sessions share one environment, so that PyTorch is installed twice rather than six times; that is why the environments
are made here and not by nox itself.
"""

from __future__ import annotations

import os
import shutil
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import nox

nox.needs_version = ">=2025.2.9"
nox.options.default_venv_backend = "none"
nox.options.error_on_external_run = False
nox.options.sessions = ["core", "pytorch", "mxnet", "both"]

ROOT = Path(__file__).parent
DIST = ROOT / "dist"
RESULTS = ROOT / "build" / "test-results"

CORE = "."
PYTORCH = "plugins/zoo-pytorch"
MXNET = "plugins/zoo-mxnet"
PROJECTS = (CORE, PYTORCH, MXNET)
#: A package of somebody else's, with a network around a program of each engine.
FLOWERS = "examples/zoo-flowers"

TEST_TOOLS = ("pytest", "hypothesis")
#: All but the tests that build packages and make environments, which take long and need to run once only.
QUICK = ("-m", "not packaging")
#: What reaches object stores and the hub, and a server of the S3 protocol to reach; the other environments test doing without.
STORES = ("s3fs", "moto[s3]", "flask", "flask-cors", "huggingface-hub")
PICTURES = ("scikit-image", "scikit-learn")  # real photographs and the digits; nothing of ours depends on them


@dataclass(frozen=True, kw_only=True)
class Environment:
    """A virtual environment below ``.nox``, kept as long as what it is made from stays the same.

    Attributes:
        constraints: The file in ``constraints/`` that pins what is installed.
        projects: Our own distributions, installed as a user's pip would: built from the source tree, not editable.
        requirements: What else is installed.
    """

    name: str
    constraints: str
    projects: tuple[str, ...] = ()
    requirements: tuple[str, ...] = ()

    @property
    def folder(self) -> Path:
        """Where it lies."""
        return ROOT / ".nox" / self.name

    def prepare(self, session: nox.Session, *, anew: bool = False) -> None:
        """Make or reuse the environment, and install our distributions as they are now."""
        stamp = self.folder / "made-from.txt"
        recipe = self._recipe()
        if anew or not stamp.is_file() or stamp.read_text() != recipe:
            # From nothing: what an earlier recipe left behind could hide a dependency that is not declared.
            session.run(sys.executable, "-m", "virtualenv", "--quiet", "--clear", self.folder)
            # The build backend first, so that pip need not download it again for each of our distributions.
            self.pip_install(session, "hatchling", *self.requirements)
        if self.projects:
            self.pip_install(session, "--no-build-isolation", *self.projects)
        stamp.write_text(recipe)

    def pip_install(self, session: nox.Session, *arguments: str) -> None:
        """Install, with all versions pinned; the output shows only if it fails."""
        # Compiling 20,000 modules of which a run imports a few takes longer than the run.
        options = ("--quiet", "--no-compile", "--constraint", f"constraints/{self.constraints}")
        self.run(session, "python", "-m", "pip", "install", *options, *arguments, silent=True)

    def run(
        self, session: nox.Session, program: str, *arguments: str | Path, env: dict[str, str] | None = None, **how: Any
    ) -> Any:
        """Run a program of the environment, which is the active one for whatever that program starts."""
        scripts = self.folder / "bin"
        active = {
            "PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}",
            "VIRTUAL_ENV": str(self.folder),
            # Python would put the current folder first, and the source tree would be run instead of what is installed.
            "PYTHONSAFEPATH": "1",
        }
        return session.run(scripts / program, *arguments, env={**active, **(env or {})}, **how)

    def _recipe(self) -> str:
        """All that decides what is installed besides our own code."""
        lines = [sys.version, *self.requirements]
        lines += [(ROOT / "constraints" / name).read_text() for name in ("common.txt", self.constraints)]
        for project in self.projects:
            document = tomllib.loads((ROOT / project.partition("[")[0] / "pyproject.toml").read_text())["project"]
            lines.append(repr((project, document["dependencies"], document.get("optional-dependencies"))))
        return "\n".join(lines)


CORE_ALONE = Environment(name="core", constraints="common.txt", projects=(CORE,), requirements=TEST_TOOLS)
PYTORCH_ALONE = Environment(
    name="pytorch",
    constraints="numpy2.txt",
    projects=(CORE, f"{PYTORCH}[demo]", FLOWERS),
    requirements=(*TEST_TOOLS, *PICTURES),
)
MXNET_ALONE = Environment(
    name="mxnet", constraints="numpy1.txt", projects=(CORE, f"{MXNET}[demo]", FLOWERS), requirements=(*TEST_TOOLS, *PICTURES)
)
BOTH = Environment(
    name="both",
    constraints="numpy1.txt",
    projects=(CORE, f"{PYTORCH}[demo]", f"{MXNET}[demo]", FLOWERS),
    requirements=(*TEST_TOOLS, *PICTURES, *STORES, "build", "mypy"),
)
TOOLS = Environment(name="tools", constraints="common.txt", requirements=("build", "import-linter", "ruff"))
# Ruff breaks the long lines of signatures.
DOCS = Environment(name="docs", constraints="common.txt", requirements=("mkdocstrings-python", "ruff", "zensical"))
WHEELS = Environment(name="wheels", constraints="numpy1.txt", requirements=PICTURES)


@nox.session
def core(session: nox.Session) -> None:
    """Tests with zoo-core alone: no engine, no NumPy."""
    run_tests(session, CORE_ALONE, *QUICK)


@nox.session
def pytorch(session: nox.Session) -> None:
    """Tests with PyTorch alone, on NumPy 2."""
    run_tests(session, PYTORCH_ALONE, *QUICK)


@nox.session
def mxnet(session: nox.Session) -> None:
    """Tests with MXNet alone, on NumPy 1.26."""
    run_tests(session, MXNET_ALONE, *QUICK)


@nox.session
def both(session: nox.Session) -> None:
    """Tests with both engines, and those that build and install packages."""
    run_tests(session, BOTH)


def run_tests(session: nox.Session, environment: Environment, *selection: str) -> None:
    """Run the tests in an environment; what needs an engine that it lacks skips itself and says why."""
    environment.prepare(session)
    report = RESULTS / f"{environment.name}.xml"
    environment.run(session, "pytest", f"--junit-xml={report}", *selection, *(session.posargs or ["tests"]))


@nox.session(default=False)
def lint(session: nox.Session) -> None:
    """Ruff: lint and format."""
    TOOLS.prepare(session)
    TOOLS.run(session, "ruff", "check", ".")
    TOOLS.run(session, "ruff", "format", "--check", ".")


@nox.session(default=False)
def types(session: nox.Session) -> None:
    """Mypy, strict, where the types of PyTorch and NumPy are at hand."""
    BOTH.prepare(session)
    BOTH.run(session, "mypy", "zoo_core", f"{PYTORCH}/zoo_pytorch", f"{MXNET}/zoo_mxnet")


@nox.session(default=False)
def layers(session: nox.Session) -> None:
    """Import contracts: what may import what."""
    TOOLS.prepare(session)
    sources = os.pathsep.join(str(ROOT / project) for project in PROJECTS)  # read, never imported
    TOOLS.run(session, "lint-imports", env={"PYTHONPATH": sources, "PYTHONSAFEPATH": ""})


@nox.session(default=False)
def docs(session: nox.Session) -> None:
    """The documentation, with every warning an error."""
    DOCS.prepare(session)
    output = DOCS.run(session, "zensical", "build", "--strict", "--clean", env={"NO_COLOR": "1"}, silent=True)
    # Faults in docstrings are only logged: Zensical's strict mode does not count them.
    faults = [line for line in str(output).splitlines() if line.startswith(("griffe:", "mkdocstrings:"))]
    if faults:
        session.error("docstrings that could not be rendered as they are:\n" + "\n".join(faults))
    DOCS.run(session, "python", ".ci/check_site.py", "site")


@nox.session(default=False)
def build(session: nox.Session) -> None:
    """Wheels and source archives of the three distributions, in dist/."""
    TOOLS.prepare(session)
    shutil.rmtree(DIST, ignore_errors=True)
    for project in PROJECTS:
        # Each wheel is built from its source archive, which proves that the archive is complete.
        TOOLS.run(session, "python", "-m", "build", "--no-isolation", "--outdir", DIST, project, silent=True)
    session.log("built %s", ", ".join(sorted(path.name for path in DIST.iterdir())))


@nox.session(default=False)
def wheel_demo(session: nox.Session) -> None:
    """The demo and the command, from the wheels alone: a fresh environment, far from the source tree."""
    wheels = {path.name.partition("-")[0]: path for path in DIST.glob("*.whl")}
    if set(wheels) != {"zoo_core", "zoo_pytorch", "zoo_mxnet"}:
        session.error("there are no wheels of all three distributions in dist/: run `nox -s build` first")
    WHEELS.prepare(session, anew=True)
    WHEELS.pip_install(session, f"{wheels['zoo_core']}", f"{wheels['zoo_pytorch']}[demo]", f"{wheels['zoo_mxnet']}[demo]")
    WHEELS.run(session, "python", "-m", "pip", "check")
    with TemporaryDirectory() as elsewhere, session.chdir(elsewhere):
        shutil.copy(ROOT / "examples" / "demo.py", elsewhere)
        WHEELS.run(session, "zoo", "plugins")
        WHEELS.run(session, "zoo", "search", "--application", "cv/image_classification")
        WHEELS.run(session, "python", "demo.py")


@nox.session(default=False)
def demo(session: nox.Session) -> None:
    """Classify real photographs with the real weights, in PyTorch and in MXNet."""
    BOTH.prepare(session)
    BOTH.run(session, "python", "examples/demo.py", *session.posargs)


@nox.session(default=False)
def bench(session: nox.Session) -> None:
    """The benchmarks: start-up, the catalogue, loading and downloads, each next to a peer and the floor."""
    BOTH.prepare(session)
    for script in session.posargs or sorted(str(path.relative_to(ROOT)) for path in ROOT.glob("benchmarks/*.py")):
        BOTH.run(session, "python", script)
