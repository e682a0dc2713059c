#!/bin/sh
# Compile the pins (*.txt) from the requirements (*.in): sh requirements/compile.sh [--upgrade | --upgrade-package NAME]
#
# Pins that still fit stay as they are, unless an upgrade is asked for. One set of pins serves every system and every
# Python from 3.11 on; each has the hashes of all its files, and no line names a package index.
set -eu
cd "$(dirname "$0")"

# pins NAME ARGUMENTS...: from NAME.in to NAME.txt. uv reads the present NAME.txt and keeps what fits.
pins() {
    name=$1
    shift
    ../.venv/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
        --no-emit-index-url --no-emit-find-links --output-file "$name.txt" "$@" "$name.in"
    echo "$name.txt: $(grep -c '==' "$name.txt") pins"
}

# dev first: it contains the chat, the stack and uv, so that the tests run with the versions that people run.
pins dev "$@"
for name in chat stack uv; do pins "$name" --constraints dev.txt "$@"; done
pins embedded --no-deps "$@"
pins vllm "$@"

if grep -n '://' ./*.txt; then
    echo "The lines above name an address, which would tie every install to it: remove it from the .in file." >&2
    exit 1
fi
