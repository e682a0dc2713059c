#!/bin/sh
# Build the chat's image with Cloud Build, and print its digest.
#
# stdin: the files of the source, one per line. Environment: IMAGE (name:tag), SOURCE (folder), PROJECT, REGION (of the
# build, or global; without it, gcloud's own property builds/region would decide), BUCKET, BUILD
# (configuration of Cloud Build as JSON). stdout: sha256:... and nothing else. stderr: the log of the build.
set -eu

digest() {
    gcloud artifacts docker images describe "$IMAGE" --project="$PROJECT" --format='value(image_summary.digest)' 2>/dev/null
}

if found=$(digest) && [ -n "$found" ]; then
    echo "$IMAGE exists: this source was built before." >&2
    printf %s "$found"
    exit 0
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cat >"$work/files"
tar -C "$SOURCE" -czf "$work/source.tgz" -T "$work/files"
printf %s "$BUILD" >"$work/build.json"

# The roles of the build's new account take up to two minutes to propagate: a build that is denied for that reason is
# retried. A build that ran and failed is not.
attempt=1
while :; do
    {
        gcloud builds submit "$work/source.tgz" --project="$PROJECT" --region="$REGION" --config="$work/build.json" \
            --gcs-source-staging-dir="gs://$BUCKET/source" 2>&1 && echo 0 >"$work/status" || echo $? >"$work/status"
    } | tee "$work/log" >&2
    status=$(cat "$work/status")
    [ "$status" = 0 ] && break
    if [ "$attempt" -lt 5 ] && grep -qE 'PERMISSION_DENIED|does not have permission|does not have .* access|caller does not' "$work/log"; then
        echo "The roles of the build's account have not propagated: retrying in ${RETRY_SECONDS:-30} s ($attempt of 4)." >&2
        attempt=$((attempt + 1))
        sleep "${RETRY_SECONDS:-30}"
        continue
    fi
    echo "The image was not built, so the running chat was not changed. The log above ends with the reason." >&2
    exit "$status"
done

found=$(digest) || found=
if [ -z "$found" ]; then
    echo "The build succeeded, but $IMAGE is not in the registry. See the builds of project $PROJECT in the console." >&2
    exit 1
fi
printf %s "$found"
