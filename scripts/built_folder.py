"""Folders that are built: what stood there before goes only when the new one is whole, and nothing of anybody is lost.

    with built_folder(Path("build/site"), "site") as new:
        ...  # write into new; at the end it takes the place of build/site

Every such folder holds a hidden list of its files with their checksums. It says that the folder was built, by what, and
whether somebody has worked in it since. A folder without the list is not touched. Used by build_site.py,
build_slides.py and build_blank.py.
"""

import hashlib
import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LIST = ".built-files.json"
# What file managers and Jupyter leave behind where somebody only looked.
TRACES = {".DS_Store", "Thumbs.db", "desktop.ini", ".ipynb_checkpoints"}


class FolderError(Exception):
    """A folder cannot be built at this place. The message says why and what to do."""


def checksums(folder: Path) -> dict[str, str]:
    """{file: SHA-256} of everything in a folder; OSError when something in it cannot be read as a file."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        is_file = path.is_symlink() or not path.is_dir()
        if is_file and name.as_posix() != LIST and not TRACES & set(name.parts):
            found[name.as_posix()] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def listed(folder: Path) -> dict:
    """The list of a built folder, {"kind": ..., "files": ...}; empty when there is none."""
    try:
        content = json.loads((folder / LIST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def changed(folder: Path) -> bool:
    """Was a file added to this built folder, changed or taken away? Without a list nobody knows: yes."""
    try:
        return listed(folder).get("files") != checksums(folder)
    except OSError:
        return True


def refuse_what_is_not_ours(out: Path, kind: str) -> None:
    """FolderError when `out` is there and is neither empty nor a folder built as `kind`."""
    if not out.exists():
        return
    if not out.is_dir():
        raise FolderError(f"{out} is a file: name a folder")
    if any(out.iterdir()) and listed(out).get("kind") != kind:
        raise FolderError(f"{out} is not empty and was not built as {kind}: name another folder, or empty this one")


def put_in_place(new: Path, out: Path) -> None:
    """Let `new` take the place of `out`. One in which somebody has worked is kept under another name."""
    old = new.with_name("old")
    if out.exists() and any(out.iterdir()) and changed(out):
        number = 1
        while (old := out.with_name(f"{out.name}-kept-{number}")).exists():
            number += 1
        here = out.parent.name
        print(f"Somebody may have worked in {here}/{out.name}/: it is now {here}/{old.name}/")
    if out.exists():
        out.rename(old)
    try:
        new.rename(out)
    except OSError:
        if old.exists():
            old.rename(out)
        raise


@contextmanager
def built_folder(out: Path, kind: str) -> Iterator[Path]:
    """An empty folder to build in, which takes the place of `out` when the block ends well.

    It lies beside `out`, on the same disk, so that it only has to be renamed. Its parent is free for what the work
    needs besides and is removed in any case.

    Raises:
        FolderError: something else lies at `out`, or a file could not be written. What was there is there still.
    """
    out = out.resolve()
    try:
        refuse_what_is_not_ours(out, kind)
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f"{out.name}-unfinished-", dir=out.parent) as beside:
            new = Path(beside) / "new"
            new.mkdir()
            yield new
            content = {"kind": kind, "files": checksums(new)}
            (new / LIST).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
            put_in_place(new, out)
    except OSError as error:
        # copytree collects what went wrong with every file: the first one says it
        why = error.args[0][0][2] if isinstance(error, shutil.Error) and isinstance(error.args[0], list) else error
        raise FolderError(f"{out} could not be built, what was there is unchanged: {why}") from error
