"""Print the sum of the tests of all sessions, one plain line: ``12 passed, 0 failed, 3 skipped``."""

import sys
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree as ET

OUTCOMES = {"failure": "failed", "error": "failed", "skipped": "skipped"}


def outcome(case: ET.Element) -> str:
    """The worst that happened to a test: an error while it was cleaned up counts too."""
    found = {OUTCOMES[part.tag] for part in case if part.tag in OUTCOMES}
    return "failed" if "failed" in found else "skipped" if found else "passed"


def main(folder: Path) -> None:
    """Read the JUnit reports of a folder; without one no test ran, and nothing is said."""
    reports = sorted(folder.glob("*.xml"))
    cases = [case for report in reports for case in ET.parse(report).iter("testcase")]  # noqa: S314 - pytest wrote them, here
    totals = Counter(outcome(case) for case in cases)
    if reports:
        print(", ".join(f"{totals[name]} {name}" for name in ("passed", "failed", "skipped")))  # noqa: T201


if __name__ == "__main__":
    main(Path(sys.argv[1]))
