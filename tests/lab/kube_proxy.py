"""What kube-proxy's nftables mode writes on a node, for the Services of one load balancer address.

As its documentation and its tables tell: a map from address and port to a chain; numgen to choose an
endpoint; dnat in prerouting and output; masquerade of what is marked 0x4000, which is a pod that reaches
itself, and with `externalTrafficPolicy: Cluster` everybody from outside. A port without endpoints is
rejected. Session affinity is remembered for each port of a Service by itself.
"""

from dataclasses import dataclass

MASQUERADE = 0x4000
PODS = "10.244.0.0/16"


@dataclass(frozen=True)
class Port:
    """One port of a Service, at its address."""

    service: str
    address: str
    port: int
    endpoints: tuple       # (address, port) of each
    local: bool            # externalTrafficPolicy: Local
    sticky: bool = False   # sessionAffinity: ClientIP

    @property
    def chain(self):
        return f"{self.service}-{self.port}"

    def endpoint(self, address):
        return f"{self.chain}-{address.replace('.', '-')}"


def table(ports):
    """The whole table; loading it replaces the one of before in one step, and connections stay."""
    served = [port for port in ports if port.endpoints]
    rejected = [port for port in ports if not port.endpoints]
    return f"""
table ip kube-proxy
delete table ip kube-proxy
table ip kube-proxy {{
    chain mark-for-masquerade {{
        meta mark set meta mark or {MASQUERADE:#x}
    }}
{"".join(_chains(port) for port in served)}
    map service-ips {{
        type ipv4_addr . inet_proto . inet_service : verdict
        {_elements(f"{port.address} . tcp . {port.port} : goto external-{port.chain}" for port in served)}
    }}
    map no-endpoint-services {{
        type ipv4_addr . inet_proto . inet_service : verdict
        {_elements(f"{port.address} . tcp . {port.port} : goto reject-chain" for port in rejected)}
    }}
    chain reject-chain {{
        reject
    }}
    chain services {{
        ip daddr . meta l4proto . th dport vmap @service-ips
    }}
    chain nat-prerouting {{
        type nat hook prerouting priority dstnat; policy accept;
        jump services
    }}
    chain nat-output {{
        type nat hook output priority -100; policy accept;
        jump services
    }}
    chain nat-postrouting {{
        type nat hook postrouting priority srcnat; policy accept;
        meta mark and {MASQUERADE:#x} == 0 return
        meta mark set meta mark xor {MASQUERADE:#x}
        masquerade fully-random
    }}
    chain filter-forward {{
        type filter hook forward priority filter; policy accept;
        ct state new ip daddr . meta l4proto . th dport vmap @no-endpoint-services
    }}
}}
"""


def _elements(elements):
    listed = ", ".join(elements)
    return f"elements = {{ {listed} }}" if listed else ""


def _chains(port):
    # A pod's own packets take the short way, wherever the endpoints are.
    external = (f"ip saddr {PODS} goto service-{port.chain}" if port.local
                else "jump mark-for-masquerade")
    remembered = "".join(f"""
    set affinity-{port.endpoint(address)} {{
        type ipv4_addr; flags dynamic, timeout; timeout 3h;
    }}""" for address, _ in port.endpoints if port.sticky)
    endpoints = "".join(f"""
    chain endpoint-{port.endpoint(address)} {{
        ip saddr {address} jump mark-for-masquerade
        {f"update @affinity-{port.endpoint(address)} {{ ip saddr }}" if port.sticky else ""}
        meta l4proto tcp dnat to {address}:{number}
    }}""" for address, number in port.endpoints)
    known = "".join(f"""
        ip saddr @affinity-{port.endpoint(address)} goto endpoint-{port.endpoint(address)}"""
                    for address, _ in port.endpoints if port.sticky)
    choice = ", ".join(f"{number} : goto endpoint-{port.endpoint(address)}"
                       for number, (address, _) in enumerate(port.endpoints))
    return f"""{remembered}{endpoints}
    chain service-{port.chain} {{{known}
        numgen random mod {len(port.endpoints)} vmap {{ {choice} }}
    }}
    chain external-{port.chain} {{
        {external}
        goto service-{port.chain}
    }}"""
