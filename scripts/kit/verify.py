"""Is every file of this kit here and undamaged?    python verify.py

Compares all files with SHA256SUMS, on every system. On Linux `sha256sum -c SHA256SUMS` does the same, on macOS
`shasum -a 256 -c SHA256SUMS`. Standard library only.
"""

import hashlib
import os
import sys

KIT = os.path.dirname(os.path.abspath(__file__))


def digest(path):
    """The SHA-256 of a file, read in pieces."""
    summed = hashlib.sha256()
    with open(path, "rb") as file:
        for piece in iter(lambda: file.read(1 << 20), b""):
            summed.update(piece)
    return summed.hexdigest()


def main():
    try:
        with open(os.path.join(KIT, "SHA256SUMS"), encoding="utf-8") as file:
            listed = [tuple(line.rstrip("\n").split("  ", 1)) for line in file]
        if not listed or any(len(pair) != 2 or len(pair[0]) != 64 for pair in listed):
            raise ValueError
    except OSError:
        print("SHA256SUMS is missing: this kit was not finished, or not copied to the end.")
        return 1
    except ValueError:  # or what is there is no text
        print("SHA256SUMS is damaged. Copy the kit again from where it was made.")
        return 1
    bad = 0
    for count, (wanted, name) in enumerate(listed, start=1):
        path = os.path.join(KIT, *name.split("/"))
        try:
            problem = "" if digest(path) == wanted else "is damaged"
        except OSError as error:
            problem = "is missing" if not os.path.exists(path) else f"cannot be read ({error})"
        if problem:
            bad += 1
            print(f"{name} {problem}")
        elif count % 50 == 0:
            print(f"... {count} of {len(listed)} files")
            sys.stdout.flush()
    if bad:
        print(f"{bad} of {len(listed)} files are missing or damaged. Copy the kit again from where it was made.")
        return 1
    print(f"All {len(listed)} files are here and undamaged.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
