#!/bin/sh
# Lets pass, with ufw, what bears ftpgate's mark, and switches routing on. docs/deploy-firewalls.md explains
# the lines. Run it as root; a second time it changes nothing.
set -eu

mark=0x2100             # as firewall.mark

# Ahead of everything: ufw-not-local drops what keeps the server's address, though ftpgate captures it.
for v in "" 6; do
	rules=/etc/ufw/before$v.rules
	grep -q -- '--comment ftpgate ' "$rules" && continue
	sed -i "/^# End required lines/a\\
-A ufw$v-before-input -m mark --mark $mark -m comment --comment ftpgate -j ACCEPT\\
-A ufw$v-before-forward -m connmark --mark $mark -m comment --comment ftpgate -j ACCEPT" "$rules"
done

for key in net/ipv4/ip_forward net/ipv6/conf/all/forwarding; do
	grep -q "^$key=1" /etc/ufw/sysctl.conf || echo "$key=1" >>/etc/ufw/sysctl.conf
done

# Says so where ufw is not enabled, and does nothing then.
ufw reload
