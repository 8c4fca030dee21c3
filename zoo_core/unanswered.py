"""The error for a question that nothing answers: what was asked, what comes nearest, what to install."""

from __future__ import annotations

from collections.abc import Sequence

from zoo_core.cache import unsupported
from zoo_core.criteria import Criteria
from zoo_core.errors import EngineNotInstalledError, ModelNotFoundError, PackageNotInstalledError, ZooError
from zoo_core.requirements import engine_package, install_line
from zoo_core.selection import Explanation, Refusal, wanted_engines
from zoo_core.wording import listing, printable


def unanswered(criteria: Criteria, explanation: Explanation, unread: Sequence[ZooError]) -> ZooError:
    """The error; its first line says it all, the others list the nearest misses.

    Args:
        unread: What kept repositories or documents from being read.
    """
    asked = printable(repr(criteria).removeprefix("Criteria"))
    more = "".join(f"\n  {line}" for line in explanation.reasons())
    last = [refusal for refusal in explanation.refused if refusal.rank[0] == explanation.refused[0].rank[0]]
    if last and all(_is_missing(refusal, criteria) for refusal in last):
        return _missing_package(last, asked, criteria)
    refused = unsupported(explanation.refused[0].record) if last and last[0].field == "files" else None
    if refused is not None:
        return refused
    if not explanation.refused:
        return ModelNotFoundError(
            f"no model matches {asked}: no repository holds any model: pip install zoo-pytorch{more}", explanation
        )
    nearest = explanation.refused[0]
    others = f"; {len(unread)} more could not be looked at: {unread[0]}" if unread else ""
    return ModelNotFoundError(
        f"no model matches {asked}. The nearest is {printable(nearest.record.reference)}: {nearest}{others}{more}", explanation
    )


def _is_missing(refusal: Refusal, criteria: Criteria) -> bool:
    """Whether an installation would help: a package is missing, and it is not that the artifact runs in other engines."""
    if refusal.field == "engine" and not wanted_engines(refusal.record, criteria.engine):
        return False
    if refusal.field != "engine" or criteria.engine is None:
        return refusal.field in ("engine", "requires")
    engines = [engine.lower() for engine in refusal.record.engines]
    return not engines or criteria.engine.lower() in engines


def _missing_package(refused: Sequence[Refusal], asked: str, criteria: Criteria) -> PackageNotInstalledError:
    engines = [refusal for refusal in refused if refusal.field == "engine"]
    if engines:
        names = {engine for refusal in engines for engine in wanted_engines(refusal.record, criteria.engine)}
        packages = sorted(engine_package(engine) for engine in names)
        line = " or ".join(install_line([package]) for package in packages)
        return EngineNotInstalledError(f"no engine for {asked} is installed ({listing(names)}): {line}", packages)
    packages = sorted({package for refusal in refused for package in refusal.record.missing})
    return PackageNotInstalledError(f"packages for {asked} are missing: {install_line(packages)}", packages)
