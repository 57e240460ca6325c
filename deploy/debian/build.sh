#!/usr/bin/env bash
# Builds the Debian package with cargo-deb: ftpgate_VERSION_ARCH.deb.
#
#   build.sh [--output DIR] [--binary FILE] [--deb-version VERSION] [--fast] | --tools-only
#
# --output DIR   where the package goes (target/debian)
# --binary FILE  takes this ftpgate instead of building one
# --deb-version  another version than that of Cargo.toml
# --fast         packs quickly instead of small
# --tools-only   builds cargo-deb, if it is not there, and no package
#
# Needs cargo, dpkg-dev and xz-utils. cargo-deb goes to target/tools, or where FTPGATE_TOOLS says.
set -euo pipefail

cargo_deb_version=3.8.0
top=$(cd "$(dirname "$0")/../.." && pwd)
output="$top/target/debian" binary='' tools_only=no options=()
while [ $# -gt 0 ]; do
    case "$1" in
    --output) output=$2; shift 2 ;;
    --binary) binary=$2; shift 2 ;;
    --deb-version) options+=(--deb-version "$2"); shift 2 ;;
    --tools-only) tools_only=yes; shift ;;
    --fast) options+=(--fast); shift ;;
    *) sed -n '2,12s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
    esac
done

# Out of the way of the project's own build, whose folder may be another one each time.
tools="${FTPGATE_TOOLS:-$top/target/tools}"
if ! "$tools/bin/cargo-deb" --version 2>/dev/null | grep -qw "$cargo_deb_version"; then
    # Without optimization, and with the xz of the system: half a minute instead of several.
    cargo install --quiet --locked --force --debug --no-default-features --root "$tools" \
        "cargo-deb@$cargo_deb_version"
fi
[ "$tools_only" = no ] || exit 0

if [ -z "$binary" ]; then
    (cd "$top" && cargo build --locked --release)
    binary="${CARGO_TARGET_DIR:-$top/target}/release/ftpgate"
fi

# cargo-deb takes what was built from target/release; here that is a folder of this script's own, with
# what the binary tells about itself.
stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT
made="$stage/release/made"
mkdir -p "$made/man" "$output"
cp "$binary" "$stage/release/ftpgate"
"$binary" man --dir "$made/man" >/dev/null
gzip -9n "$made"/man/*
gzip -9nc "$top/CHANGELOG.md" >"$made/changelog.gz"
"$binary" completions bash >"$made/ftpgate.bash"
"$binary" completions zsh >"$made/_ftpgate"
"$binary" completions fish >"$made/ftpgate.fish"
(cd "$top" && CARGO_TARGET_DIR="$stage" "$tools/bin/cargo-deb" --variant whole --no-build --locked --strip \
    --output "$output/" "${options[@]}")
