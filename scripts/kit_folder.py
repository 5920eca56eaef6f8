"""Whose is the folder of an offline kit, and what in it may be removed? Used by scripts/offline_kit.py."""

import errno
import os
import re
from pathlib import Path

from kit_wheels import KitError

MARKER = "made-by-offline-kit.txt"  # without this file a folder is somebody else's
TITLE = "Made by scripts/offline_kit.py, which removes these files when a newer kit does not need them:"
# what systems leave on a stick by themselves
JUNK = r"\._.*|\.DS_Store|\.Trash.*|\.Spotlight.*|\.fseventsd|Thumbs\.db|desktop\.ini|lost\+found"
JUNK += r"|System Volume Information|\$RECYCLE\.BIN"


def write_whole(path: Path, lines: list[str]) -> None:
    """A text that is there as a whole or not at all."""
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text("".join(line + "\n" for line in lines), encoding="utf-8", newline="\n")
    os.replace(temporary, path)


def earlier_files(out: Path) -> set[str]:
    """What earlier runs have made in the folder. A folder that is not ours is refused."""
    if (out / MARKER).is_file():
        return set((out / MARKER).read_text(encoding="utf-8").splitlines()[1:])
    if out.exists() and not out.is_dir():
        raise KitError(f"{out} is a file. Name an empty or a new folder with --out.")
    names = sorted(path.name for path in out.iterdir() if not re.fullmatch(JUNK, path.name)) if out.exists() else []
    if names:
        raise KitError(
            f"{out} holds something that is no kit ({', '.join(names[:3])}{' ...' * (len(names) > 3)}), and stays as "
            "it is.\nName an empty or a new folder with --out."
        )
    return set()


def begin(out: Path, files: set[str]) -> None:
    """Mark the folder as ours before anything else is in it."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        record(out, files)
        (out / "wheels").mkdir(exist_ok=True)
        (out / "SHA256SUMS").unlink(missing_ok=True)  # from here on it is not finished
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise KitError(f"{out} cannot be used: {error}. Name another folder with --out.") from None


def record(out: Path, files: set[str]) -> None:
    write_whole(out / MARKER, [TITLE, *sorted(files)])


def remove(out: Path, names: set[str]) -> None:
    for name in sorted(names):
        path = out / name
        if path.is_file() and out in path.resolve().parents:
            print(f"  {name} belonged to an earlier kit: removed")
            path.unlink()
