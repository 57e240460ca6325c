#!/bin/sh
# What firewalld needs for a NAT gateway with ftpgate (deploy/firewalld/gateway.yaml), once and for good.
# docs/deploy-firewalls.md explains the lines. Change what is set here, then run it as root; a second time
# it changes only what is set otherwise here.
set -eu

lan=lan0                # the interface of the clients: zone internal
wan=wan0                # the interface of the servers: zone external, which masquerades IPv4
mark=0x2100             # as firewall.mark
data_ports=50000-50999  # as data.ports

set_up() { firewall-cmd --quiet --permanent "$@"; }
# 26 is NAME_CONFLICT: it is there already.
make() { set_up "$@" || [ $? = 26 ]; }

set_up --zone=internal --change-interface="$lan"
set_up --zone=external --change-interface="$wan"

# What bears ftpgate's mark is let in and through: IPv4 alone, since a set of IPv6 takes single addresses.
make --new-ipset=ftpgate --type=hash:ip,mark
set_up --ipset=ftpgate --add-entry="0.0.0.0/1,$mark"
set_up --ipset=ftpgate --add-entry="128.0.0.0/1,$mark"
make --new-zone=ftpgate
set_up --zone=ftpgate --set-target=ACCEPT
set_up --zone=ftpgate --add-source=ipset:ftpgate

# Passive data over IPv6, by its ports. Everything else of IPv6 is redirected or translated.
make --new-policy=ftpgate-v6
set_up --policy=ftpgate-v6 --add-ingress-zone=internal
set_up --policy=ftpgate-v6 --add-egress-zone=external
set_up --policy=ftpgate-v6 --add-rich-rule='rule family=ipv6 port port=1024-65535 protocol=tcp accept'

# Active mode on the relay path: servers dial the gateway. ftpgate serves the awaited peer alone.
set_up --zone=external --add-port="$data_ports/tcp"

firewall-cmd --quiet --reload
