"""Capture files: written from a packet socket, read, and edited in ways that are the same every time."""

import os
import select
import socket
import struct
import threading
import time

ETH_P_ALL = 3
SO_RCVBUFFORCE = 33
HEADER = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262144, 1)


class Recorder(threading.Thread):
    """Writes every packet of an interface to a pcap file until `stop`."""

    def __init__(self, topology, namespace, interface, path):
        super().__init__()
        self.path = path
        with topology.inside(namespace):
            self.sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
            self.sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 64 << 20)
            self.sock.bind((interface, ETH_P_ALL))
        self.wake, self.waker = os.pipe()
        self.packets = []
        self.start()

    def run(self):
        while True:
            ready, _, _ = select.select([self.sock, self.wake], [], [])
            if self.sock in ready:
                self.packets.append((time.time(), self.sock.recv(1 << 18)))
            elif ready:
                return

    def stop(self):
        """Everything that has come is in the file."""
        os.write(self.waker, b"x")
        self.join()
        self.sock.close()
        for fd in (self.wake, self.waker):
            os.close(fd)
        write(self.path, self.packets)


def write(path, packets):
    """Writes (seconds, bytes) as a pcap file."""
    with open(path, "wb") as out:
        out.write(HEADER)
        for when, packet in packets:
            seconds = int(when)
            length = len(packet)
            out.write(struct.pack("<IIII", seconds, int((when - seconds) * 1e6), length, length))
            out.write(packet)


def in_order_of_time(packets, order):
    """The packets in another order, with the times in the order that they had."""
    return [(when, packets[at][1]) for (when, _), at in zip(packets, order)]


def reordered(packets, window=4, apart=0.1):
    """Each `window` of packets the other way round, unless they are farther `apart` than that."""
    order, together = [], []
    for at, (when, _) in enumerate(packets):
        if together and (len(together) == window or when - packets[together[0]][0] > apart):
            order += reversed(together)
            together = []
        together.append(at)
    return in_order_of_time(packets, order + together[::-1])


def repeated(packets, every=3):
    """Each third packet comes a second time, a little later."""
    doubled = []
    for at, packet in enumerate(packets):
        doubled.append(packet)
        if at >= 5 and at % every == 0:
            doubled.append((packet[0], packets[at - 5][1]))
    return doubled


def cut(packets, length):
    """What a capture with `-s length` has: the headers say how long the packet was."""
    return [(when, packet[:length]) for when, packet in packets]


def holding(packet, text):
    """Whether a packet of a control connection holds this text."""
    return text in packet and len(packet) < 2000
