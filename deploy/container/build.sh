#!/usr/bin/env bash
# Builds the image without a daemon and without a registry: what rootfs.sh makes here, in the last stage
# of the Containerfile, by buildah. The same commit gives the same digest.
#
#   deploy/container/build.sh FILE.tar            PROFILE=dev builds quicker
#
# FILE.tar is an OCI archive, for podman load, skopeo copy and docker load. The second line of the output is
# the digest. VERSION, REVISION and SOURCE_DATE_EPOCH are those of the commit unless they are set.
set -euo pipefail

out=$(realpath -m "${1:?build.sh FILE.tar}")
cd "$(dirname "$0")/../.."
version=${VERSION:-$(sed -n '0,/^version = /s/^version = "\(.*\)"/\1/p' Cargo.toml)}
revision=${REVISION:-$(git describe --always --dirty --abbrev=40 --exclude='*')}
epoch=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
deploy/container/rootfs.sh "$work/build/image"

# A store of its own, that needs neither overlay mounts nor namespaces, and leaves the user's alone.
buildah=(buildah --root "$work/store" --runroot "$work/run" --storage-driver vfs)
mkdir -p "$(dirname "$out")"
rm -f "$out"
"${buildah[@]}" build --quiet --isolation chroot --format oci \
    --build-context "build=$work/build" --timestamp "$epoch" \
    --build-arg "VERSION=$version" --build-arg "REVISION=$revision" \
    --annotation "org.opencontainers.image.version=$version" \
    --annotation "org.opencontainers.image.revision=$revision" \
    --tag "ftpgate:$version" --file deploy/container/Containerfile . >/dev/null
"${buildah[@]}" push --quiet --digestfile "$work/digest" "ftpgate:$version" "oci-archive:$out:ftpgate:$version"
echo "$out: ftpgate $version, revision $revision"
cat "$work/digest"
echo
