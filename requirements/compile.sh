#!/bin/sh
# Compile the pins (*.txt) from what is wanted (*.in): sh requirements/compile.sh [--upgrade | --upgrade-package NAME]
#
# Pins that still fit stay as they are, unless an upgrade is asked for. One set of pins serves every system and every
# Python from 3.11 on; each has the hashes of all its files, and no line names a package index.
set -eu
cd "$(dirname "$0")"

if ! command -v uv >/dev/null; then
    echo "Compiling the pins needs uv. Install it, then try again: python3 -m pip install uv" >&2
    exit 1
fi

# pins NAME ARGUMENTS...: from NAME.in to NAME.txt. uv reads the present NAME.txt and keeps what fits.
pins() {
    name=$1
    shift
    uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
        --no-emit-index-url --no-emit-find-links --output-file "$name.txt" "$@" "$name.in"
    echo "$name.txt: $(grep -c '==' "$name.txt") pins"
}

# dev first: it holds all that the chat has, so the chat is tested with the versions that it runs with.
pins dev "$@"
pins chat --constraints dev.txt "$@"
pins stack --constraints dev.txt "$@"
pins embedded --no-deps "$@"

if grep -n '://' ./*.txt; then
    echo "The lines above name an address, which would tie every install to it: remove it from the .in file." >&2
    exit 1
fi
