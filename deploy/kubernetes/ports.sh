#!/bin/sh
# Writes the ports of a Service for a range of data ports: ports.sh FIRST LAST. FIRST-LAST is `data.ports` of ftpgate.yaml.
set -eu
[ $# = 2 ] || { echo "usage: ports.sh FIRST LAST" >&2; exit 2; }
for port in $(seq "$1" "$2"); do
    echo "    - { name: data-$port, port: $port }"
done
