"""Fill a folder for a USB stick, for a room without a network: the course, its packages, start scripts, checksums.

    python scripts/offline_kit.py                                  for computers like this one
    python scripts/offline_kit.py --platform "windows macos" --pythons "3.12 3.13"
    python scripts/offline_kit.py --out /media/stick/course-kit    somewhere else than build/offline-kit

What is there with the right checksum is not fetched again, so an interrupted run goes on. SHA256SUMS is written last:
without it a kit is not finished. Only files that an earlier run made there are ever removed; they are listed in
made-by-offline-kit.txt. The folder python/ in the kit is yours. docs/offline-kit.md tells how to use it.
"""

import argparse
import errno
import json
import os
import re
import shutil
import sys
import tomllib
from pathlib import Path

from kit_folder import MARKER, begin, earlier_files, record, remove, write_whole
from kit_wheels import (
    PLATFORMS,
    ROOT,
    KitError,
    Target,
    Wheel,
    check_complete,
    check_disk,
    choose,
    digest,
    fetch_all,
    find_uv,
    list_file,
    run,
    unpacked_size,
)
from setup_env import NEEDED, this_platform

PARTS = ROOT / "scripts" / "kit"
OWN = (  # beside the wheels and their lists
    "README.txt start-linux.sh start-macos.command start-windows.bat verify.py programs/start.py programs/place.py "
    f"programs/setup_env.py course.zip kit.json {MARKER}"
).split()


def git(*words: str) -> str:
    try:
        status, output = run(["git", *words])
    except OSError:
        raise KitError("git is needed: the kit takes the course as it is committed.") from None
    if status:
        raise KitError(f"This folder is no git checkout, and the kit takes the course as it is committed:\n{output}")
    return output.strip("\n")


def read_targets(platforms: str, pythons: str) -> list[Target]:
    """Both lists may be separated by blanks or commas. Empty means: this computer, this Python."""
    chosen = re.split(r"[\s,]+", platforms.strip(" ,")) if platforms.strip(" ,") else [this_platform()]
    versions = (
        re.split(r"[\s,]+", pythons.strip(" ,")) if pythons.strip(" ,") else [".".join(map(str, sys.version_info[:2]))]
    )
    for name in chosen:
        if name not in PLATFORMS:
            raise KitError(f"There is no kit for '{name}'. Choose --platform from: {', '.join(PLATFORMS)}.")
    for version in versions:
        if not re.fullmatch(r"3\.\d+", version):
            raise KitError(f"'{version}' is no Python version. Write --pythons as in '3.12 3.13'.")
        if tuple(map(int, version.split("."))) < NEEDED:
            raise KitError(f"The course needs Python {'.'.join(map(str, NEEDED))} or newer, not {version}.")
    return [Target(name, version) for name in dict.fromkeys(chosen) for version in dict.fromkeys(versions)]


def write_parts(out: Path, about: dict, chosen: dict[Target, list[Wheel]]) -> None:
    """Everything in the kit that is ours: programs, start scripts, the text for people."""
    pythons = list(dict.fromkeys(target.python for target in chosen))
    values = {
        "pythons": " ".join(pythons),
        "names": " ".join(f"python{version}" for version in pythons),
        "or_pythons": " or ".join(pythons),
        "tuples": ", ".join(f"({version.replace('.', ', ')})" for version in pythons),
        "kits": "\n".join(f"  {target}" for target in chosen),
        "course": f"version {about['version']} of {about['date']}, commit {about['commit'][:10]}",
        "gigabytes": f"{1.1 * max(kit['megabytes_installed'] for kit in about['kits']) / 1000:.1f}",
    }
    for source, names in {
        "README.txt": ["README.txt"],
        "start.sh": ["start-linux.sh", "start-macos.command"],
        "start-windows.bat": ["start-windows.bat"],
    }.items():
        text = (PARTS / source).read_text(encoding="utf-8")
        for key, value in values.items():
            text = text.replace(f"@{key}@", value)
        windows = source != "start.sh"  # the command prompt and Notepad want their own line ends
        for name in names:
            (out / name).write_text(text, encoding="utf-8", newline="\r\n" if windows else "\n")
            (out / name).chmod(0o644 if name == "README.txt" else 0o755)
    (out / "programs").mkdir(exist_ok=True)
    shutil.copy(PARTS / "verify.py", out)
    for source in (PARTS / "start.py", PARTS / "place.py", PARTS.parent / "setup_env.py"):
        shutil.copy(source, out / "programs")
    (out / "python").mkdir(exist_ok=True)
    note = f"Put the installers of Python {values['or_pythons']} here, for computers that have none.\r\n"
    (out / "python" / "PUT-INSTALLERS-HERE.txt").write_text(note, encoding="utf-8", newline="")
    (out / "kit.json").write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")


def write_lists(chosen: dict[Target, list[Wheel]], uv: list[str], folder: Path) -> None:
    """For each kind of computer the packages it needs, with checksums; and is everything in the folder?"""
    for target, wheels in chosen.items():
        lines = [f"{wheel.name}=={wheel.version} --hash=sha256:{wheel.sha256}\n" for wheel in wheels]
        list_file(target, folder).write_text("".join(lines), encoding="utf-8", newline="\n")
        check_complete(target, uv, folder)


def write_sums(out: Path, files: set[str]) -> float:
    """SHA256SUMS over what this program made, in the format of `sha256sum -c`. Returns the gigabytes in the kit.

    Nothing else: an installer that is replaced later, or what a system leaves on a stick, is no damage.
    """
    write_whole(out / "SHA256SUMS", [f"{digest(out / name)}  {name}" for name in sorted(files)])
    return sum((out / name).stat().st_size for name in files) / 1e9


def own_files(chosen: dict[Target, list[Wheel]]) -> set[str]:
    """Everything this program puts into a kit, without the folder python/ and SHA256SUMS."""
    wheels = {f"wheels/{wheel.file}" for wheels in chosen.values() for wheel in wheels}
    return wheels | {list_file(target, Path("wheels")).as_posix() for target in chosen} | set(OWN)


def take_course(out: Path) -> dict:
    """course.zip: the course as it was committed last. Returns what kit.json says about it.

    One file, because more than four thousand small images are slow to copy from a stick; and without the history, which
    is as large again and serves nobody in a room without a network.
    """
    commit, date = git("log", "-1", "--format=%H %cs").split()
    changed = git("status", "--porcelain", "--untracked-files=normal").splitlines()
    if changed:
        names = ", ".join(line[3:] for line in changed[:5]) + (" ..." if len(changed) > 5 else "")
        print(f"NOT in the kit, because not committed: {len(changed)} changed or new: {names}")
    temporary = out / "course.zip.tmp"
    git("archive", "--format=zip", f"--output={temporary}", "HEAD")
    os.replace(temporary, out / "course.zip")
    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    return {"version": version, "commit": commit, "date": date}


def describe(target: Target, wheels: list[Wheel], folder: Path) -> dict:
    """One entry of kit.json."""
    return {
        "platform": target.platform,
        "python": target.python,
        "torch": next((wheel.version for wheel in wheels if wheel.name == "torch"), ""),
        "wheels": len(wheels),
        "megabytes": round(sum((folder / wheel.file).stat().st_size for wheel in wheels) / 1e6),
        "megabytes_installed": round(unpacked_size(wheels, folder) / 1e6),
    }


def make_kit(options: argparse.Namespace) -> None:
    targets, uv = read_targets(options.platform, options.pythons), find_uv()
    out = options.out.resolve()
    earlier = earlier_files(out)
    git("rev-parse", "HEAD")
    chosen = {}
    for target in targets:
        chosen[target] = choose(target, uv, options.torch)
        torch = next((wheel.version for wheel in chosen[target] if wheel.name == "torch"), "?")
        print(f"{target}: {len(chosen[target])} wheels, PyTorch {torch}", flush=True)
    files = own_files(chosen)
    begin(out, earlier | files)
    check_disk(chosen, out / "wheels")
    fetch_all(chosen, out / "wheels")
    write_lists(chosen, uv, out / "wheels")
    about = take_course(out)
    about["kits"] = [describe(target, wheels, out / "wheels") for target, wheels in chosen.items()]
    write_parts(out, about, chosen)
    remove(out, earlier - files)
    record(out, files)
    size = write_sums(out, files)
    print(f"The kit is ready: {size:.1f} GB in {out}\nCopy this folder to a stick. README.txt in it is for you, too.")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--platform", default="", help=f"one or more of {', '.join(PLATFORMS)}; default: this computer's"
    )
    parser.add_argument("--pythons", default="", help='Python versions, as in "3.12 3.13"; default: the running one')
    parser.add_argument("--torch", default="auto", help="auto (default), cpu, pypi, cu130, ...")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "offline-kit", help="default: build/offline-kit")
    try:
        make_kit(parser.parse_args(arguments))
    except KitError as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        print(f"\nThe disk is full: {error}. Free some space, then run the same command again.", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nInterrupted. The same command goes on where this one stopped.", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
