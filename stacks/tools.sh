#!/bin/sh
# Check what a verb of the Makefile needs, and say everything that is missing, each in one sentence with how to get it:
# STACK=dev sh stacks/tools.sh up|preview|destroy|url|doctor
#
# Plain POSIX sh (Debian's dash, macOS's bash 3.2). `up` and `preview` also make the stack's record, so that settings
# can be set; `url` prints the address; `doctor` checks everything, changes nothing, and says what is well too.
set -u

verb=${1:-}
case $verb in
up | preview | destroy | url | doctor) ;;
*)
    echo "Usage: STACK=dev sh stacks/tools.sh up|preview|destroy|url|doctor" >&2
    exit 2
    ;;
esac
cd "$(dirname "$0")/.." || exit 1

STACK=${STACK:-dev}
of_stack=''
if [ "$STACK" != dev ]; then of_stack=" STACK=$STACK"; fi
export PULUMI_SKIP_UPDATE_CHECK=true CLOUDSDK_CORE_DISABLE_PROMPTS=1

# 3.217 knows error hooks, but shows them only what it calls a partial failure; since 3.244 they get every error, which
# the waits of stacks/project.py need (github.com/pulumi/pulumi/pull/23347).
oldest_minor=244

status=0
missing() {
    status=1
    if [ "$verb" = doctor ]; then echo "  missing  $*"; else echo "$*" >&2; fi
}
ok() { if [ "$verb" = doctor ]; then echo "  ok       $*"; fi; }
later() { if [ "$verb" = doctor ]; then echo "  later    $*"; fi; }
# Good to know, and no reason to stop.
note() { if [ "$verb" = doctor ]; then echo "  note     $*"; else echo "$*"; fi; }

has() { command -v "$1" >/dev/null 2>&1; }

# Asks nobody anything: a question in a check would wait unseen.
quietly() { "$@" 2>/dev/null </dev/null; }

# How to install PACKAGE where Debian's apt knows it; else the words that follow.
how_to_install() {
    package=$1
    shift
    if has apt-get && quietly apt-cache show "$package" >/dev/null; then
        if [ "$(id -u)" = 0 ]; then echo "apt-get install $package"; else echo "sudo apt-get install $package"; fi
    else
        echo "$*"
    fi
}

# --- Pulumi ---

check_pulumi() {
    how="curl -fsSL https://get.pulumi.com | sh (or brew install pulumi/tap/pulumi)"
    if ! has pulumi; then
        if [ -x "${HOME:-}/.pulumi/bin/pulumi" ]; then
            missing "Pulumi is installed, but this terminal does not know it yet: open a new one," \
                "or run: export PATH=\"\$HOME/.pulumi/bin:\$PATH\""
        else
            missing "Pulumi is not installed: $how"
        fi
        return 1
    fi
    if [ "$verb" != url ]; then check_version; fi # an address can be read with any
    if ! quietly pulumi whoami --non-interactive >/dev/null; then
        missing "Nobody is logged in to Pulumi, or it cannot be reached: pulumi login (keeps the stack's record in" \
            "Pulumi Cloud), or pulumi login --local (keeps it on this computer)"
        return 1
    fi
    ok "logged in to Pulumi"
}

check_version() {
    version=$(quietly pulumi version)
    version=${version#v}
    rest=${version#*.}
    major=${version%%.*} minor=${rest%%.*}
    case $major$minor in
    '' | *[!0-9]*) missing "Pulumi does not say its version, so it may be broken; install it again: $how" ;;
    *)
        if [ "$major" -lt 3 ] || { [ "$major" -eq 3 ] && [ "$minor" -lt "$oldest_minor" ]; }; then
            missing "Pulumi $version is too old, 3.$oldest_minor or newer is needed: $how"
        else
            ok "Pulumi $version"
        fi
        ;;
    esac
}

make_it="pulumi stack select --create $STACK && " # before a setting can be set, unless the stack is there
check_stack() {
    case $verb in
    up | preview)
        # May ask for a passphrase, and says itself what is wrong.
        if pulumi stack select --create "$STACK"; then make_it=''; else status=1; fi
        ;;
    *)
        if quietly pulumi stack --stack "$STACK" --show-name --non-interactive >/dev/null; then
            ok "stack $STACK"
            make_it=''
        elif [ "$verb" = doctor ]; then
            later "stack $STACK: make up$of_stack makes it"
        else
            missing "There is no stack $STACK: pulumi stack ls shows those that exist"
            exit "$status" # what else such a stack would need is of no use
        fi
        ;;
    esac
}

# setting KEY: its value; from the stack's file while Pulumi cannot tell (it is missing, or the stack was never made).
setting() {
    quietly pulumi config get "$1" --stack "$STACK" --non-interactive ||
        quietly sed -n "s/^ *\(hybrid-chat:\)\{0,1\}$1: *[\"']\{0,1\}\([^\"' #]*\).*/\2/p" "$file"
}
file=Pulumi.${STACK##*/}.yaml # a stack's name may begin with an organization's

# --- Where the stack goes ---

check_google_cloud() {
    if has gcloud; then
        ok "gcloud"
        if quietly gcloud auth print-access-token >/dev/null; then
            ok "gcloud is logged in"
        else
            missing "gcloud is not logged in, with which the image is built and the cluster entered: gcloud auth login"
        fi
    else
        missing "gcloud is not installed: see https://cloud.google.com/sdk/docs/install" \
            "(or brew install --cask gcloud-cli)"
    fi
    if has gke-gcloud-auth-plugin; then
        ok "gke-gcloud-auth-plugin"
    else
        missing "gke-gcloud-auth-plugin, the key to the cluster, is not installed:" \
            "$(how_to_install google-cloud-cli-gke-gcloud-auth-plugin gcloud components install gke-gcloud-auth-plugin)"
    fi
    if [ -n "${GOOGLE_CREDENTIALS:-}${GOOGLE_OAUTH_ACCESS_TOKEN:-}" ] ||
        quietly gcloud auth application-default print-access-token >/dev/null; then
        ok "Google's credentials for applications"
    else
        missing "Google's credentials for applications, which Pulumi uses, are missing or expired:" \
            "gcloud auth application-default login"
    fi
    project=$(setting gcp:project)
    if [ -n "$project" ]; then
        note "Stack $STACK: Google Cloud project $project."
        if [ "$verb" != destroy ]; then check_sign_in; fi
    else
        missing "gcp:project is not set: ${make_it}pulumi config set gcp:project YOUR_PROJECT_ID --stack $STACK" \
            "(gcloud projects list shows yours)"
    fi
}

# The sign-in that is used without a setting works only in an organization: said before a cluster is made for it.
check_sign_in() {
    case $(setting exposure)/$(setting identity) in
    private/* | public-http/* | */google | */anonymous) return ;;
    esac
    if [ -n "$(setting oauthClientId)" ]; then return; fi
    # yes where it has a parent, no where it has none; nothing where the project cannot be read.
    if [ "$(quietly gcloud projects describe "$project" --format='value(parent.type.yesno(yes=yes, no=no))')" = no ]; then
        note "The project $project belongs to no organization, where Google's own sign-in (identity iap) lets nobody" \
            "in: make an OAuth client, and set oauthClientId, oauthClientSecret and allowedPeople; docs/deploy.md," \
            "Who gets in."
    fi
}

# Without kubectl it is looked for in the first file of the list, which is most often the only one.
current_context() {
    if has kubectl; then
        quietly kubectl config current-context
    else
        files=${KUBECONFIG:-${HOME:-}/.kube/config}
        quietly sed -n "s/^current-context: *[\"']\{0,1\}\([^\"']*\).*/\1/p" "${files%%:*}"
    fi
}

check_kubernetes() {
    if has kubectl; then
        ok "kubectl"
    else
        note "kubectl is not installed; it is not needed now, but opens a private chat and shows what runs:" \
            "see https://kubernetes.io/docs/tasks/tools"
    fi
    context=$(setting kubernetes:context)
    if [ -z "$context" ] && grep -q '^ *kubernetes:kubeconfig:' "$file" 2>/dev/null; then
        note "Stack $STACK: the cluster of the setting kubernetes:kubeconfig." # a secret, so that its context is too
        return
    fi
    if [ -z "$context" ]; then context=$(current_context); fi
    if [ -n "$context" ]; then
        note "Stack $STACK: Kubernetes context $context."
    elif [ -n "${KUBERNETES_SERVICE_HOST:-}" ]; then
        note "Stack $STACK: the cluster that this runs in."
    else
        missing "No Kubernetes cluster is chosen: ${make_it}pulumi config set kubernetes:context NAME --stack $STACK" \
            "(kubectl config get-contexts shows yours)"
    fi
}

check_docker() {
    if ! has docker; then
        missing "Docker, which builds the chat's image, is not installed: see https://docs.docker.com/get-docker"
    elif ! quietly docker version >/dev/null; then
        missing "Docker is installed, but its engine does not answer: start it"
    else
        ok "Docker"
    fi
}

check_platform() {
    platform=$(setting platform)
    image=$(setting image)
    apis=''
    if [ "$platform" = kubernetes ]; then
        check_kubernetes
        if [ "${image:-auto}" = auto ]; then image=docker; fi # as stacks/settings.py chooses
    else
        check_google_cloud
        apis="the project's Google APIs, which remain enabled, and "
    fi
    if [ "$image" = docker ]; then check_docker; fi
}

# check_packages PINS VERB: what requirements/install.sh would do.
check_packages() {
    if found=$(sh requirements/install.sh "$1" --check 2>&1); then
        ok "Python $found and the packages in .venv"
    else
        case $found in
        *' '*) missing "$found" ;; # a sentence: no Python fits
        *)
            ok "Python $found"
            later "packages: make $2 installs them"
            ;;
        esac
    fi
}

# --- The verbs ---

print_url() {
    if ! address=$(quietly pulumi stack output url --stack "$STACK" --non-interactive); then
        echo "The stack $STACK has no address yet. Run this first: make up$of_stack" >&2
        exit 1
    fi
    echo "$address"
    if command=$(quietly pulumi stack output openWith --stack "$STACK" --non-interactive); then
        echo "It answers while this runs: $command" >&2
    fi
    if waiting=$(quietly pulumi stack output firstMinutes --stack "$STACK" --non-interactive); then
        echo "$waiting" >&2
    fi
}

case $verb in
doctor)
    echo "The chat on this computer (make run)"
    check_packages chat run
    echo "The stack $STACK (make up$of_stack)"
    check_pulumi && check_stack
    check_platform
    check_packages stack up
    ;;
url)
    check_pulumi && print_url
    ;;
*)
    check_pulumi && check_stack
    check_platform
    if [ "$verb" = destroy ] && [ "$status" = 0 ]; then
        echo "Destroying the stack $STACK deletes all its chats. What stays: ${apis}Pulumi's record of the stack," \
            "until: pulumi stack rm --preserve-config $STACK"
    fi
    ;;
esac
exit "$status"
