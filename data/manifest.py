"""The list of bundled files: data/manifest.json holds the sha256 of every file under data/mini and data/weights.

python data/manifest.py            # write it (after images or weights were made anew)
python data/manifest.py --check    # compare, name what differs, exit 1
"""

import argparse
import hashlib
import json
import sys
from pathlib import Path

DATA = Path(__file__).resolve().parent
MANIFEST = DATA / "manifest.json"


def bundled_files(data: Path = DATA) -> list[Path]:
    """Every image, table and weights file that belongs to the course, in a fixed order."""
    found = [p for folder in ("mini", "weights") for p in (data / folder).rglob("*")]
    return sorted(p for p in found if p.suffix in (".jpg", ".png", ".mat", ".bin", ".txt", ".json", ".pth"))


def digests(data: Path = DATA) -> dict[str, str]:
    """Map each file's path relative to ``data`` (with forward slashes) to its sha256."""
    return {p.relative_to(data).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest() for p in bundled_files(data)}


def differences(data: Path = DATA) -> list[str]:
    """What differs from the manifest: missing, changed or unlisted files, one line each; empty when all is well."""
    listed, here = json.loads((data / "manifest.json").read_text(encoding="utf-8")), digests(data)
    lines = [f"{name} is missing" for name in sorted(listed.keys() - here.keys())]
    lines += [f"{name} is not listed" for name in sorted(here.keys() - listed.keys())]
    return lines + [f"{name} was changed" for name in sorted(listed.keys() & here.keys()) if listed[name] != here[name]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="compare instead of writing")
    if parser.parse_args().check:
        lines = differences()
        print("\n".join(lines) or "all bundled files are as listed")
        sys.exit(bool(lines))
    content = digests()
    MANIFEST.write_text(json.dumps(content, indent=0, sort_keys=True) + "\n", encoding="utf-8")
    size = sum(p.stat().st_size for p in bundled_files())
    print(f"{len(content)} files, {size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
