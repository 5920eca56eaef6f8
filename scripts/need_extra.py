"""Is everything of an extra of pyproject.toml installed? Exit code 0: yes. 1: something is missing or too old.

python scripts/need_extra.py site
"""

import sys
import tomllib
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parent.parent


def missing(requirements: list[str]) -> list[str]:
    """The requirements that this environment does not meet."""
    found = []
    for text in requirements:
        requirement = Requirement(text)
        try:
            fits = requirement.specifier.contains(version(requirement.name), prereleases=True)
        except PackageNotFoundError:
            fits = False
        found += [] if fits else [text]
    return found


def main(extra: str) -> int:
    table = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    return 1 if missing(table[extra]) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
