"""Ports of loopback for the gates of one run."""

import collections
import itertools
import random
import threading

# Blocks of a hundred ports, below the range from which the kernel takes ports by itself; where they
# begin is left to chance, so that two runs on one host hardly meet.
_blocks = itertools.count(10_000 + 100 * random.randrange(100), 100)
_returned = collections.deque()
_blocks_lock = threading.Lock()

# Of those that were returned so many rest before one is used again.
RESTING = 10


def free_block():
    """A hundred ports of loopback that nobody else in this run uses, until they are returned."""
    with _blocks_lock:
        first = _returned.popleft() if len(_returned) > RESTING else next(_blocks)
    return range(first, first + 100)


def return_block(first):
    """The hundred ports from `first` on are free again. Returning them twice does no harm."""
    with _blocks_lock:
        if first not in _returned:
            _returned.append(first)
