#!/bin/sh
# Creates the virtual environment $VENV with a Python of 3.10 to 3.12.
#
# A bare Debian or Ubuntu has Python without ensurepip: root gets the missing package
# from apt, everybody else is told its name.
set -eu
VENV="${VENV:-.venv}"

fits() {
    "$1" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 12))' \
        2>/dev/null
}

find_python() {
    for name in python3.12 python3.11 python3.10 python3; do
        if fits "$name"; then
            echo "$name"
            return
        fi
    done
    echo "steadyrank needs Python 3.10, 3.11 or 3.12. None is on PATH." >&2
    echo "On Debian or Ubuntu: apt-get install python3 python3-venv" >&2
    exit 1
}

install_venv() {
    package="$("$1" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')"
    if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
        echo "$1 cannot create virtual environments: ensurepip is missing." >&2
        echo "On Debian or Ubuntu: sudo apt-get install $package" >&2
        exit 1
    fi
    echo "ensurepip is missing: apt-get install $package"
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$package"
}

if [ -x "$VENV/bin/python" ] && fits "$VENV/bin/python" &&
    "$VENV/bin/python" -m pip --version >/dev/null 2>&1; then
    exit 0
fi
python="$(find_python)"
"$python" -c 'import ensurepip, venv' 2>/dev/null || install_venv "$python"
echo "Creating $VENV with $("$python" --version)"
"$python" -m venv --clear "$VENV"
