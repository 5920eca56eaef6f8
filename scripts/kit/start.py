"""Install the course from this kit and open it. The start scripts call this with a Python that fits.

    python programs/start.py            asks where to put the course; Enter means a new folder in the home folder
    python programs/start.py FOLDER     there; one that does not start at the top is taken from the home folder
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
from place import KIT, MARK, choose_place  # noqa: E402
from setup_env import SetupError, this_platform, wheel_list  # noqa: E402

AGAIN = {"windows": "start-course.bat", "macos": "start-course.command"}  # elsewhere: start-course.sh
MISSING = "The packages of the course are not here (.venv): start the script of the offline kit again. Your work stays."
# pushd, because cd cannot go to a home folder on a server
AGAIN_WINDOWS = f"""\
@echo off
pushd "%~dp0"
if not exist .venv\\Scripts\\python.exe goto missing
.venv\\Scripts\\python -m jupyter lab --ServerApp.root_dir=. notebooks/00_start_here.ipynb
pause
exit /b

:missing
echo {MISSING}
pause
exit /b 1
"""
AGAIN_ELSEWHERE = f"""\
#!/bin/sh
cd "$(dirname "$0")" || exit
if [ ! -x .venv/bin/python ]; then
    echo "{MISSING}"
    printf "Press Enter to close. "
    read -r _
    exit 1
fi
exec .venv/bin/python -m jupyter lab --ServerApp.root_dir=. notebooks/00_start_here.ipynb
"""


def read_kit():
    """kit.json, once it is sure that the kit is whole and made for this computer."""
    if not (KIT / "SHA256SUMS").is_file():
        raise SetupError("This kit is not finished, or was not copied to the end: SHA256SUMS is missing.")
    listed = Path(wheel_list(str(KIT / "wheels"), sys.version_info[:2]))  # says so when nothing fits
    check(f"wheels/{listed.name}")
    check("kit.json")
    return json.loads((KIT / "kit.json").read_text(encoding="utf-8"))


def check(name):
    """Is this file as it was made? (pip checks the wheels.)"""
    try:
        lines = (KIT / "SHA256SUMS").read_text(encoding="utf-8").splitlines()
        whole = f"{hashlib.sha256((KIT / name).read_bytes()).hexdigest()}  {name}" in lines
    except (OSError, ValueError):  # missing, not to be read, no text
        whole = False
    if not whole:
        raise SetupError(f"{name} is damaged. Copy the kit again; its verify.py tells which files are bad.")


def unpack(folder, unfinished, kit):
    """The course into a new folder. It gets its name when everything is in it."""
    print(f"Copying the course to {folder}")
    try:
        check("course.zip")
        course = unfinished / "course"
        with zipfile.ZipFile(KIT / "course.zip") as archive:
            archive.extractall(course)
        mark = {"commit": kit["commit"], "version": kit["version"]}
        (course / MARK).write_text(json.dumps(mark) + "\n", encoding="utf-8")
        write_again(course)
        if folder.exists():
            folder.rmdir()  # empty, or this fails
        course.rename(folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def python_in(folder):
    return folder.joinpath(*([".venv", "Scripts", "python.exe"] if os.name == "nt" else [".venv", "bin", "python"]))


def write_again(folder):
    """A start script for the days after, when the stick is gone."""
    path = folder / again_name()
    if path.suffix == ".bat":
        path.write_bytes(AGAIN_WINDOWS.replace("\n", "\r\n").encode())
    else:
        path.write_bytes(AGAIN_ELSEWHERE.encode())
        path.chmod(0o755)


def run(command, folder):
    return subprocess.call([str(word) for word in command], cwd=str(folder))


def start(options):
    kit = read_kit()
    folder, unfinished = choose_place(options.folder, kit["commit"])
    if unfinished:
        unpack(folder, unfinished, kit)
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
    print(f"The course is in {folder}\nTo open it without this kit: {again_name()} there.\n\nIs this computer ready?")
    if run([python_in(folder), "-m", "tlhelpers"], folder):
        return 1
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
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            print(f"\nThe disk is full: {error}\nFree some space, then start again.")
        else:
            print(f"\nA file could not be read or written: {error}\nStart again. If it stays so, copy the kit again.")
    except (KeyboardInterrupt, EOFError):
        print("\nStopped. Start again to go on.")
        return 130
    return 1


if __name__ == "__main__":
    sys.exit(main())
