#!/bin/sh
# Installs the course from this folder and opens it. No network is used. A folder may be named after the command.
# This only looks for a Python that the kit has packages for (@or_pythons@); programs/start.py does the rest.

here=$(cd "$(dirname "$0")" && pwd)
# where installers put Python on a Mac; a double click does not always look there
# shellcheck disable=SC2043  # the list may hold one version
for version in @pythons@; do
    PATH="$PATH:/Library/Frameworks/Python.framework/Versions/$version/bin"
done
PATH="$PATH:/opt/homebrew/bin:/usr/local/bin"

fits() {
    found=$(command -v "$1") || return 1
    # what Apple puts there only offers a download
    if [ "$found" = /usr/bin/python3 ] && [ "$(uname)" = Darwin ]; then return 1; fi
    "$found" -c 'import sys; sys.exit(sys.version_info[:2] not in [@tuples@])' 2>/dev/null
}

status=1
python=
for name in @names@ python3 python; do
    if fits "$name"; then
        python=$found
        break
    fi
done
if [ -n "$python" ]; then
    "$python" -B "$here/programs/start.py" "$@"
    status=$?
else
    echo "No Python that fits was found on this computer. This kit needs Python @or_pythons@."
    echo "Installers may lie in the folder python of this kit:"
    ls "$here/python"
    echo "Install one, then start this again."
fi
if [ "$status" -ne 0 ] && [ -t 0 ]; then
    echo
    printf "Press Enter to close. "
    read -r _
fi
exit "$status"
