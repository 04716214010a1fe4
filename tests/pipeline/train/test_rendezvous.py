"""Machines wait for one another, and say for whom."""

import socket
import threading
import time

import pytest

from steadyrank.pipeline.config.cluster import Cluster
from steadyrank.pipeline.files.errors import PassingError
from steadyrank.pipeline.train import rendezvous
from steadyrank.pipeline.train.rendezvous import await_machines


@pytest.fixture
def machines():
    """Addresses of three machines that are this one."""
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(3)]
    found = tuple(f"127.0.0.1:{each.getsockname()[1]}" for each in held)
    for each in held:
        each.close()
    return found


def come(machines, index, late, into, seconds=20.0):
    time.sleep(late)
    try:
        await_machines(Cluster(machines, index), into.append, seconds)
        into.append("all there")
    except PassingError as error:
        into.append(str(error))


@pytest.mark.parametrize("late", [(0, 0, 0), (0, 0.5, 1.5), (1.0, 0, 0.2)])
def test_all_go_on_when_the_last_has_come(machines, late):
    said = [[], [], []]
    threads = [
        threading.Thread(target=come, args=(machines, n, late[n], said[n]))
        for n in range(3)
    ]
    before = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [each[-1] for each in said] == ["all there"] * 3
    assert time.monotonic() - before < max(late) + 5
    for address in machines:  # TensorFlow can have the ports
        host, _, port = address.rpartition(":")
        socket.create_server((host, int(port))).close()


def test_who_does_not_come_is_named_and_another_try_may_do(machines):
    said: list = [[], []]
    other = threading.Thread(target=come, args=(machines, 1, 0, said[1], 2.0))
    other.start()
    come(machines, 0, 0, said[0], 2.0)
    other.join()
    for told in said:
        assert told[-1].startswith(f"{machines[2]} of the 3 machines of TF_CONFIG did not")
    assert f"waiting for {machines[2]}" in said[0]


def test_a_name_that_nobody_has_is_waited_for(machines):
    said = []
    come((machines[0], "nobody.invalid:1"), 0, 0, said, 0.5)
    assert said == [
        "waiting for nobody.invalid:1",
        "nobody.invalid:1 of the 2 machines of TF_CONFIG did not come within 0 s. Start "
        "all of them; each must reach the others' ports.",
    ]


def test_calls_of_others_are_nobodys(machines):
    """Of a monitor that looks whether ports answer, or speaks another language."""
    said = []
    waits = threading.Thread(target=come, args=(machines[:2], 0, 0, said, 1.5))
    waits.start()
    host, _, port = machines[0].rpartition(":")
    for word in (b"", b"GET / HTTP/1.1", b"\xff\xfe", b"7", b"-1"):
        time.sleep(0.1)
        with socket.create_connection((host, int(port))) as call:
            call.sendall(word)
    waits.join()
    assert said[-1].startswith(f"{machines[1]} of the 2 machines of TF_CONFIG did not")


def test_a_port_that_another_process_has_is_named(machines):
    host, _, port = machines[0].rpartition(":")
    with socket.create_server((host, int(port))):
        with pytest.raises(PassingError, match=f"{machines[0]} is this machine's, and"):
            await_machines(Cluster(machines, 0), seconds=1.0)


def test_a_name_that_is_another_machines_opens_all_networks(monkeypatch):
    """As behind an address of a service: what is asked for is not what this machine has."""
    asked = []

    def create(place):
        asked.append(place)
        if place[0]:
            raise OSError(99, "cannot assign")
        return "opened"

    monkeypatch.setattr(rendezvous.socket, "create_server", create)
    assert rendezvous._listener("192.0.2.1", 7) == "opened"
    assert asked == [("192.0.2.1", 7), ("", 7)]
