#!/usr/bin/env bash
# Makes the root file system of the image: ftpgate without a library, and the little that it looks for.
#
#   deploy/container/rootfs.sh FOLDER             PROFILE=dev builds quicker
#
# The Containerfile calls it in its first stage, build.sh without one. It needs cargo, the target
# MACHINE-unknown-linux-musl (rustup target add) and musl-gcc (Debian: musl-tools), which compiles the
# cryptography of aws-lc.
set -euo pipefail
umask 022

root=$(realpath -m "${1:?rootfs.sh FOLDER}")
[ ! -e "$root" ] || { echo "rootfs.sh: $root is there already" >&2; exit 1; }
cd "$(dirname "$0")/../.."
machine=$(uname -m)
target=$machine-unknown-linux-musl
profile=${PROFILE:-release}

# No path of this machine comes into the binary, so that any checkout of a commit gives the same bytes.
here=$PWD
made=$(realpath -m "${CARGO_TARGET_DIR:-target}")
crates=$(realpath -m "${CARGO_HOME:-$HOME/.cargo}")
rust="" c=""
for pair in "$here=/ftpgate" "$made=/target" "$crates=/cargo"; do
    rust+=${rust:+$'\x1f'}--remap-path-prefix=$pair
    c+=" -ffile-prefix-map=$pair"
done
export CARGO_ENCODED_RUSTFLAGS=$rust "CFLAGS_${machine}_unknown_linux_musl=$c"
# No date comes into it either; to some build scripts another one means to build anew.
unset SOURCE_DATE_EPOCH
CARGO_INCREMENTAL=0 cargo build --locked --profile "$profile" --target "$target" --bin ftpgate
[ "$profile" != dev ] || profile=debug

mkdir -p "$root/usr/bin" "$root/etc/ftpgate" "$root/etc/ssl/certs"
# A panic tells file and line all the same.
strip -o "$root/usr/bin/ftpgate" "$made/$target/$profile/ftpgate"
install -D -m 0644 LICENSE "$root/usr/share/doc/ftpgate/LICENSE"
# Where rustls-native-certs looks first, for `tls.server.roots: system`.
install -m 0644 /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/"
printf '%s\n' root:x:0:0:root:/:/ ftpgate:x:65532:65532:ftpgate:/:/ >"$root/etc/passwd"
printf '%s\n' root:x:0: ftpgate:x:65532: >"$root/etc/group"
# For the control socket of whichever user it runs as.
install -d -m 1777 "$root/run/ftpgate"
