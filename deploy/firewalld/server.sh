#!/bin/sh
# What firewalld needs in front of a server (config/in-front-of-a-server.yaml), once and for good.
# docs/deploy-firewalls.md explains the lines. Change what is set here, then run it as root.
set -eu

outside=wan0            # the interface of the clients: zone public
inside=dmz0             # the interface of the server: zone internal
port=21                 # of the listener
data_ports=50000-50999  # as data.ports; empty with data.path: kernel

set_up() { firewall-cmd --quiet --permanent "$@"; }

set_up --zone=public --change-interface="$outside"
set_up --zone=internal --change-interface="$inside"

# Not --add-service=ftp, with which the kernel's own helper takes the connection.
set_up --zone=public --add-port="$port/tcp"
# The relay path: ftpgate itself listens, and serves the awaited peer alone.
if [ -n "$data_ports" ]; then
	set_up --zone=public --add-port="$data_ports/tcp"
	set_up --zone=internal --add-port="$data_ports/tcp"
fi

firewall-cmd --quiet --reload
