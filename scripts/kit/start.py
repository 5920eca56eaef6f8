"""Install the course from this kit and open it. The start scripts call this with a Python that fits.

    python programs/start.py            asks where to put the course; Enter means a new folder in the home folder
    python programs/start.py FOLDER     there
    python programs/start.py --check    stop after the room check, do not open JupyterLab
    python programs/start.py --lab --no-browser --port 8890     what follows --lab is for JupyterLab

The kit itself is only read. A folder of the learner is never written into: the course of this kit that is there already
is used again, anything else stays as it is and the course goes beside it. Standard library only.
"""

import argparse
import errno
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import zipfile
from pathlib import Path

sys.dont_write_bytecode = True  # nothing is written onto the stick
from setup_env import SetupError, this_platform, wheel_list  # noqa: E402

KIT = Path(__file__).resolve().parent.parent
NAME = "transfer-learning-course"
MARK = "offline-kit.json"  # in the learner's folder: which course this is
AGAIN = {"windows": "start-course.bat", "macos": "start-course.command"}  # elsewhere: start-course.sh


def read_kit():
    """kit.json, once it is sure that the kit is whole and made for this computer."""
    if not (KIT / "SHA256SUMS").is_file():
        raise SetupError("This kit is not finished, or was not copied to the end: SHA256SUMS is missing.")
    wheel_list(str(KIT / "wheels"), sys.version_info[:2])  # says so when nothing fits
    return json.loads((KIT / "kit.json").read_text(encoding="utf-8"))


def choose_folder(asked, commit):
    """Where the learner wants the course. Nobody is asked twice for the usual place."""
    if asked:
        return Path(asked).expanduser().absolute()
    default = Path.home() / NAME
    if commit_in(default) != commit and sys.stdin and sys.stdin.isatty():
        answer = input(f"Where shall the course go? Press Enter for {default},\nor type another folder: ").strip()
        if answer:
            return Path(answer.strip("\"'")).expanduser().absolute()
    return default


def commit_in(folder):
    """The commit of the course that a kit has put into a folder, or None."""
    try:
        return json.loads((folder / MARK).read_text(encoding="utf-8"))["commit"]
    except (OSError, ValueError, KeyError):
        return None


def place(folder, commit):
    """(folder, is the course there already?): the one asked for, or one beside it when that holds something else."""
    for candidate in (folder, folder.with_name(f"{folder.name}-{commit[:7]}")):
        if commit_in(candidate) == commit:
            return candidate, True
        if not candidate.exists() or (candidate.is_dir() and not any(candidate.iterdir())):
            return candidate, False
        print(f"{candidate} holds something else. It stays as it is.")
    raise SetupError("Start again with a folder that does not exist yet.")


def check_course():
    """course.zip as it was made? (pip checks the wheels.)"""
    listed = dict(line.split("  ", 1)[::-1] for line in (KIT / "SHA256SUMS").read_text(encoding="utf-8").splitlines())
    if hashlib.sha256((KIT / "course.zip").read_bytes()).hexdigest() != listed.get("course.zip"):
        raise SetupError("course.zip is damaged. Copy the kit again; its verify.py tells which files are bad.")


def unpack(folder, kit):
    """The course into a new folder. It gets its name when everything is in it."""
    check_course()
    folder.parent.mkdir(parents=True, exist_ok=True)
    unfinished = folder.with_name(folder.name + ".unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    print(f"Copying the course to {folder}")
    try:
        with zipfile.ZipFile(KIT / "course.zip") as archive:
            archive.extractall(unfinished)
        mark = {"commit": kit["commit"], "version": kit["version"]}
        (unfinished / MARK).write_text(json.dumps(mark) + "\n", encoding="utf-8")
        write_again(unfinished)
        if folder.exists():
            folder.rmdir()  # empty, or this fails
        unfinished.rename(folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def python_in(folder):
    return folder.joinpath(*([".venv", "Scripts", "python.exe"] if os.name == "nt" else [".venv", "bin", "python"]))


def write_again(folder):
    """A start script for the days after, when the stick is gone."""
    lab = "-m jupyter lab --ServerApp.root_dir=. notebooks/00_start_here.ipynb"
    path = folder / again_name()
    if path.suffix == ".bat":
        path.write_bytes(f'@echo off\r\ncd /d "%~dp0"\r\n.venv\\Scripts\\python {lab}\r\npause\r\n'.encode())
    else:
        path.write_bytes(f'#!/bin/sh\ncd "$(dirname "$0")" || exit\nexec .venv/bin/python {lab}\n'.encode())
        path.chmod(0o755)


def run(command, folder):
    return subprocess.call([str(word) for word in command], cwd=str(folder))


def start(options):
    kit = read_kit()
    folder, there = place(choose_folder(options.folder, kit["commit"]), kit["commit"])
    if there:
        print(f"The course is in {folder}")
    else:
        unpack(folder, kit)
    setup = [
        sys.executable,
        folder / "scripts" / "setup_env.py",
        "--python",
        sys.executable,
        "--wheels",
        KIT / "wheels",
    ]
    if run(setup, folder):
        return 1  # it has said why
    print("\nIs this computer ready?")
    if run([python_in(folder), "-m", "tlhelpers"], folder):
        return 1
    print(f"\nThe course is in {folder}\nNext time, without this kit: {again_name()} there.")
    if options.check:
        return 0
    print("Opening JupyterLab. To stop it: close this window, or press Ctrl and C here.")
    return open_lab(folder, options.lab)


def open_lab(folder, further):
    """JupyterLab at the first lesson. Ctrl and C is for it alone: it asks back and stops its kernels."""
    lab = ["-m", "jupyter", "lab", "--ServerApp.root_dir=.", "notebooks/00_start_here.ipynb"]
    server = subprocess.Popen([str(python_in(folder)), *lab, *further], cwd=str(folder))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    return server.wait()


def again_name():
    return AGAIN.get(this_platform(), "start-course.sh")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", default="", help="where the course goes")
    parser.add_argument("--check", action="store_true", help="stop after the room check")
    parser.add_argument("--lab", nargs=argparse.REMAINDER, default=[], help="all that follows is for JupyterLab")
    sys.stdout.reconfigure(line_buffering=True)  # its lines and those of the programs it starts stay in order
    options = parser.parse_args()
    try:
        return start(options)
    except SetupError as error:
        print(f"\n{error}")
    except PermissionError as error:
        print(f"\nNot allowed: {error}\nStart again and name another folder.")
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        print(f"\nThe disk is full: {error}\nFree some space, then start again.")
    except KeyboardInterrupt:
        print("\nStopped. Start again to go on.")
        return 130
    return 1


if __name__ == "__main__":
    sys.exit(main())
