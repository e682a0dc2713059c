#!/bin/sh
# Install the pinned packages into .venv: sh requirements/install.sh chat|dev|stack [--check]
# vllm, for `make gemma`, gets a virtual environment of its own: .venv-vllm
#
# Finds a Python with which requirements/install.py does the rest. Plain POSIX sh (Debian's dash, macOS's bash 3.2).
set -u
cd "$(dirname "$0")/.." || exit 1

fail() {
    echo "$*" >&2
    exit 1
}

version_of() { "$1" -I -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null; }

# apt_has PACKAGE: whether this is a Debian or Ubuntu whose package lists have it.
apt_has() { command -v apt-get >/dev/null && apt-cache show "$1" >/dev/null 2>&1; }

as_root() { if [ "$(id -u)" = 0 ]; then echo "$*"; else echo "sudo $*"; fi; }

how_to_get_python() {
    if [ "$(uname -s)" = Darwin ]; then
        echo "brew install python@3.13"
        return
    fi
    for version in 3.13 3.12 3.11; do
        if apt_has "python$version-venv"; then
            as_root "apt-get install python$version python$version-venv"
            return
        fi
    done
    if command -v dnf >/dev/null; then as_root "dnf install python3.13"; else echo "see python.org/downloads"; fi
}

# Sets $python. 3.13 first, which the container image runs; 3.14, the newest that every pin has a wheel for, last.
find_python() {
    other='' without_venv=''
    if [ -n "${PYTHON:-}" ]; then set -- "$PYTHON"; else set -- python3.13 python3.12 python3.11 python3.14 python3; fi
    for python; do
        version=$(version_of "$python") || continue # absent, or a pyenv shim without a Python behind it
        case $version in
        3.11 | 3.12 | 3.13 | 3.14) ;;
        *)
            other=$version
            continue
            ;;
        esac
        "$python" -I -c 'import ensurepip, venv' 2>/dev/null && return
        without_venv=$version
    done
    if [ -n "$without_venv" ]; then
        fix=$(how_to_get_python)
        if apt_has "python$without_venv-venv"; then fix=$(as_root "apt-get install python$without_venv-venv"); fi
        fail "Python $without_venv has no venv and ensurepip modules. Install them, then try again: $fix"
    fi
    if [ -n "${PYTHON:-}" ]; then
        if [ -n "$other" ]; then problem="is Python $other"; else problem="does not run"; fi
        fail "PYTHON=$PYTHON $problem, and the chat needs Python 3.11 to 3.14. Name another Python, or unset PYTHON."
    fi
    if [ -n "$other" ]; then found="only Python $other was found"; else found="none was found"; fi
    fail "The chat needs Python 3.11 to 3.14, and $found. Install it, then try again: $(how_to_get_python)"
}

# A .venv without pip is made again: its Python was removed, or is another version now with other site-packages.
venv=.venv
if [ "${1:-}" = vllm ]; then venv=.venv-vllm; fi
python=$venv/bin/python
if [ -e $venv/.unfinished ] || ! "$python" -I -c 'import pip' 2>/dev/null; then find_python; fi
exec "$python" -I requirements/install.py "$@"
