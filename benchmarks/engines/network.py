"""A loopback of their own for engines: Beam's servers in them listen on every network."""

import ctypes
import fcntl
import socket
import struct

NEW_NETWORK = 0x40000000  # of unshare(2)
SET_FLAGS, UP = 0x8914, 0x1 | 0x40  # of netdevice(7): up, and running


def leave_networks() -> bool:
    """Take this process, and what it starts, out of every network but a loopback.

    Returns:
        Whether that was done: it wants the rights to (root's), and Linux.
    """
    unshare = getattr(ctypes.CDLL(None), "unshare", None)
    if unshare is None or unshare(NEW_NETWORK):
        return False
    with socket.socket() as any_socket:
        fcntl.ioctl(any_socket, SET_FLAGS, struct.pack("16sh22x", b"lo", UP))
    return True
