"""Where the course goes on a learner's computer. Used by start.py. Standard library only."""

import json
import ntpath
import os
import shlex
import sys
import tempfile
from pathlib import Path

from setup_env import SetupError

KIT = Path(__file__).resolve().parent.parent
NAME = "transfer-learning-course"
MARK = "offline-kit.json"  # in the learner's folder: which course this is


def typed(answer, windows=os.name == "nt"):
    """An answer without what a terminal adds when a folder is dragged into it: quotes, on macOS backslashes.

    A drive alone (D: or D:courses) means a place that depends on what was done there last; here it means its top.
    """
    answer = answer.strip()
    if windows:
        drive, rest = ntpath.splitdrive(answer.strip("\"'"))
        return drive + ("\\" if drive and not rest.startswith(("\\", "/")) else "") + rest
    words = shlex.shlex(answer, posix=True)
    words.whitespace, words.commenters, words.whitespace_split = "", "", True  # blanks may be part of a name
    try:
        return "".join(words)
    except ValueError:  # an apostrophe in a name
        return answer


def choose_place(asked, commit):
    """Where the course goes: (folder, our own new folder beside it to unpack into, None when the course is there).

    Nobody is asked twice for the usual place; who gives an answer that cannot be used is asked again.
    """
    default = Path.home() / NAME
    ask = not asked and commit_in(default) != commit and sys.stdin and sys.stdin.isatty()
    while True:
        if ask:
            asked = typed(input(f"Where shall the course go? Press Enter for {default},\nor type another folder: "))
        try:
            # the script may run on the stick: what is relative goes below the home folder
            folder = Path(os.path.abspath(Path.home() / Path(asked).expanduser())) if asked else default
            folder, there = place(folder, commit)
            return folder, None if there else room(folder)
        except SetupError as error:
            problem = error
        except (OSError, RuntimeError, ValueError) as error:
            problem = unusable(error)
        if not ask:
            raise problem
        print(f"{problem}\n")


def unusable(error):
    reason = str(error).rstrip(".")
    if isinstance(error, (FileExistsError, NotADirectoryError)):
        reason = f"a file is in the way ({error.filename})"
    elif isinstance(error, OSError):
        reason = f"{error.strerror} ({error.filename})"
    return SetupError(f"Cannot use this folder: {reason}. Name another one.")


def commit_in(folder):
    """The commit of the course that a kit has put into a folder, or None."""
    try:
        return json.loads((folder / MARK).read_text(encoding="utf-8"))["commit"]
    except (OSError, ValueError, KeyError):
        return None


def place(folder, commit):
    """(folder, is the course there already?): the one asked for, or one beside it when that holds something else."""
    if commit_in(folder) != commit:
        if folder == folder.parent or os.path.ismount(str(folder)):
            raise ValueError(f"{folder} is a whole disk, this would do: {folder / NAME}")
        if KIT in (folder.resolve(), *folder.resolve().parents):
            raise ValueError(f"{folder} is in the kit, and nothing is written there")
    for candidate in (folder, folder.with_name(f"{folder.name}-{commit[:7]}")):
        if commit_in(candidate) == commit:
            return candidate, True
        if not candidate.exists() or (candidate.is_dir() and not any(candidate.iterdir())):
            return candidate, False
        print(f"{candidate} holds something else. It stays as it is.")
    raise SetupError("Start again with a folder that does not exist yet.")


def room(folder):
    """A new folder beside the learner's, which shows that one can be made there under such a name."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    return Path(tempfile.mkdtemp(dir=str(folder.parent), prefix=folder.name + "."))
