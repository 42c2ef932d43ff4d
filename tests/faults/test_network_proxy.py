"""The proxy between a real client and a real server, both plain sockets; nothing here waits for a time to pass."""

import gc
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest

from chaos.errors import NotMeasured, UsageError
from chaos.faults.network import ChaosProxy, Corrupt, Cut, Delay, Direction, Ending, SlowClose, Throttle

HOUR_S = 3600.0
PATIENCE_S = 30.0  # of every wait in here; none is ever spent to its end unless something is broken


@contextmanager
def echo_server() -> Iterator[tuple[str, int]]:
    """Sends back what it gets, and its end; one thread a connection."""
    listening = socket.create_server(("127.0.0.1", 0))
    threads: list[threading.Thread] = []

    def echo(connection: socket.socket) -> None:
        with connection, suppress(ConnectionError):
            while data := connection.recv(1 << 16):
                connection.sendall(data)

    def accept() -> None:
        with suppress(OSError):
            while True:
                connection, _ = listening.accept()
                threads.append(threading.Thread(target=echo, args=(connection,)))
                threads[-1].start()

    accepting = threading.Thread(target=accept)
    accepting.start()
    try:
        yield listening.getsockname()
    finally:
        listening.shutdown(socket.SHUT_RDWR)
        listening.close()
        for thread in [accepting, *threads]:
            thread.join(PATIENCE_S)
            assert not thread.is_alive()


@pytest.fixture
def proxy() -> Iterator[ChaosProxy]:
    with echo_server() as address, ChaosProxy(address, seed=7) as between:
        yield between


@pytest.fixture
def client(proxy: ChaosProxy) -> Iterator[socket.socket]:
    with connected(proxy) as connection:
        yield connection


def connected(proxy: ChaosProxy) -> socket.socket:
    return socket.create_connection(proxy.address, timeout=PATIENCE_S)


def received(connection: socket.socket, size: int) -> bytes:
    """The next `size` bytes, or as many as come before the end of the stream."""
    data = b""
    while len(data) < size and (more := connection.recv(size - len(data))):
        data += more
    return data


def silent(connection: socket.socket) -> bool:
    """Whether neither a byte nor an end has come by now."""
    connection.setblocking(False)
    try:
        connection.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return True
    finally:
        connection.settimeout(PATIENCE_S)
    return False


def test_without_faults_it_passes_everything_on(proxy: ChaosProxy, client: socket.socket) -> None:
    data = os.urandom(3_000_000)

    def send() -> None:
        client.sendall(data)
        client.shutdown(socket.SHUT_WR)

    sending = threading.Thread(target=send)
    sending.start()
    assert received(client, len(data) + 1) == data
    sending.join()
    counts = proxy.statistics()
    assert (counts.connections, counts.upstream_bytes, counts.downstream_bytes) == (1, len(data), len(data))
    assert counts.injected == {}


def test_it_listens_on_loopback_alone(proxy: ChaosProxy) -> None:
    assert proxy.address == ("127.0.0.1", proxy.port)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.2", proxy.port), timeout=PATIENCE_S)


def test_delayed_bytes_come_when_the_delay_is_taken_away(proxy: ChaosProxy, client: socket.socket) -> None:
    proxy.inject(Delay(latency_s=HOUR_S), direction="downstream")
    client.sendall(b"late")
    proxy.wait_until(lambda counts: counts.injected.get("delay", 0) == 1)
    assert silent(client)
    assert proxy.statistics().upstream_bytes == 4
    proxy.heal()
    assert received(client, 4) == b"late"


def test_a_delay_that_changes_is_still_waited_for(proxy: ChaosProxy, client: socket.socket) -> None:
    proxy.inject(Delay(latency_s=HOUR_S), direction="downstream")
    client.sendall(b"late")
    proxy.wait_until(lambda counts: counts.injected.get("delay", 0) == 1)
    proxy.inject(Corrupt(rate=1))
    with connected(proxy) as other:  # a whole round trip later
        proxy.inject(Cut(how=Ending.RESET), connections={2})
        other.sendall(b"x")
        with pytest.raises(ConnectionResetError):
            other.recv(1)
    assert silent(client)


def test_jitter_keeps_the_order_of_bytes(proxy: ChaosProxy, client: socket.socket) -> None:
    proxy.inject(Delay(latency_s=0.001, jitter_s=0.001))
    for number in range(50):
        client.sendall(b"%02d" % number)
    assert received(client, 100) == b"".join(b"%02d" % number for number in range(50))
    assert proxy.statistics().injected["delay"] > 1


def test_a_reset_comes_after_exactly_so_many_bytes(proxy: ChaosProxy, client: socket.socket) -> None:
    proxy.inject(Cut(how=Ending.RESET, after_bytes=5), direction="downstream")
    client.sendall(b"0123456789")
    assert received(client, 5) == b"01234"
    with pytest.raises(ConnectionResetError):
        client.recv(1)
    assert proxy.statistics().injected == {"reset": 1, "swallowed": 5}


def test_a_truncated_answer_ends_in_good_order(proxy: ChaosProxy, client: socket.socket) -> None:
    proxy.inject(Cut(how=Ending.TRUNCATE, after_bytes=3), direction="downstream")
    client.sendall(b"0123456789")
    assert received(client, 10) == b"012"
    assert proxy.statistics().injected == {"swallowed": 7, "truncate": 1}


def test_an_upstream_cut_leaves_the_server_without_the_rest(proxy: ChaosProxy, client: socket.socket) -> None:
    proxy.inject(Cut(how=Ending.TRUNCATE, after_bytes=3), direction="upstream")
    client.sendall(b"0123456789")
    assert received(client, 10) in (b"", b"012")  # what the server sends back may come after the end
    assert proxy.statistics().upstream_bytes == 3


def test_a_blackhole_swallows_and_tells_nobody(proxy: ChaosProxy, client: socket.socket) -> None:
    proxy.inject(Cut(how=Ending.BLACKHOLE, after_bytes=2), direction="downstream")
    client.sendall(b"0123456789")
    assert received(client, 2) == b"01"
    proxy.wait_until(lambda counts: counts.injected.get("swallowed") == 8)
    assert silent(client)
    proxy.heal()
    client.sendall(b"new")
    assert received(client, 3) == b"new"
    assert proxy.statistics().injected == {"blackhole": 1, "swallowed": 8}


def test_a_blackhole_swallows_the_end_of_the_stream_too(proxy: ChaosProxy, client: socket.socket) -> None:
    proxy.inject(Cut(how=Ending.BLACKHOLE), direction="downstream")
    client.sendall(b"x")
    client.shutdown(socket.SHUT_WR)  # the server then ends its stream
    proxy.wait_until(lambda counts: counts.injected.get("swallowed") == 1)
    with connected(proxy) as other:
        proxy.inject(Cut(how=Ending.RESET), connections={2})
        other.sendall(b"x")
        with pytest.raises(ConnectionResetError):
            other.recv(1)
    assert silent(client)


def test_a_blackhole_swallows_a_reset_too() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening, ChaosProxy(listening.getsockname()) as proxy:
        listening.settimeout(PATIENCE_S)
        proxy.inject(Cut(how=Ending.BLACKHOLE), direction="downstream", connections={1})
        with connected(proxy) as client:
            reset_by(listening, client)
            with connected(proxy) as other:
                reset_by(listening, other)
                with pytest.raises(ConnectionResetError):  # the one that nothing is done to hears of it
                    other.recv(1)
            assert silent(client)


def reset_by(listening: socket.socket, client: socket.socket) -> None:
    """Let the server reset the connection, once it is there from end to end."""
    client.sendall(b"x")
    server, _ = listening.accept()
    server.settimeout(PATIENCE_S)
    assert server.recv(1) == b"x"
    server.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
    server.close()


def test_of_a_half_open_connection_the_client_hears_nothing_until_it_is_healed(
    proxy: ChaosProxy, client: socket.socket
) -> None:
    proxy.inject(Cut(how=Ending.HALF_OPEN), direction="upstream")
    client.sendall(b"x")
    proxy.wait_until(lambda counts: counts.injected.get("half open") == 1)
    client.sendall(b"still there?")
    assert silent(client)
    proxy.heal()
    with pytest.raises(ConnectionResetError):
        client.recv(1)


def test_the_server_of_a_half_open_connection_is_reset() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening, ChaosProxy(listening.getsockname()) as proxy:
        listening.settimeout(PATIENCE_S)
        proxy.inject(Cut(how=Ending.HALF_OPEN, after_bytes=1), direction="upstream")
        with connected(proxy) as client, listening.accept()[0] as server:
            server.settimeout(PATIENCE_S)
            client.sendall(b"ab")
            assert received(server, 1) == b"a"
            with pytest.raises(ConnectionResetError):
                server.recv(1)
            assert silent(client)


def test_a_client_may_leave_a_half_open_connection(proxy: ChaosProxy) -> None:
    proxy.inject(Cut(how=Ending.HALF_OPEN), direction="upstream")
    with connected(proxy) as client:
        client.sendall(b"x")
        proxy.wait_until(lambda counts: counts.injected.get("half open") == 1)
    proxy.heal()
    with connected(proxy) as client:
        client.sendall(b"y")
        assert received(client, 1) == b"y"


def corrupted(data: bytes, seed: int, connections: int = 1) -> list[bytes]:
    found = []
    with echo_server() as address, ChaosProxy(address, seed=seed) as proxy:
        proxy.inject(Corrupt(rate=0.01), direction="upstream")
        for _ in range(connections):
            with connected(proxy) as client:
                client.sendall(data)
                found.append(received(client, len(data)))
        flipped = sum(a != b for one in found for a, b in zip(one, data, strict=True))
        assert proxy.statistics().injected == {"corrupt": flipped}
    return found


def test_the_same_seed_corrupts_the_same_bytes_and_another_one_others() -> None:
    data = bytes(10_000)
    (first,) = corrupted(data, 1)
    assert first != data
    assert corrupted(data, 1) == [first]
    assert corrupted(data, 2) != [first]


def test_each_connection_is_corrupted_in_its_own_way() -> None:
    first, second = corrupted(bytes(10_000), 1, connections=2)
    assert first != second


def test_a_slow_close_holds_the_end_back_and_nothing_else(proxy: ChaosProxy, client: socket.socket) -> None:
    proxy.inject(SlowClose(delay_s=HOUR_S), direction="downstream")
    client.sendall(b"all of it")
    client.shutdown(socket.SHUT_WR)
    assert received(client, 9) == b"all of it"
    proxy.wait_until(lambda counts: counts.injected.get("slow close") == 1)
    assert silent(client)
    proxy.heal()
    assert client.recv(1) == b""


def test_a_throttled_line_sends_small_pieces_until_it_is_healed(proxy: ChaosProxy, client: socket.socket) -> None:
    proxy.inject(Throttle(bytes_per_s=0.001), direction="downstream")
    client.sendall(b"0123456789")
    assert received(client, 1) == b"0"
    assert silent(client)
    proxy.heal()
    assert received(client, 9) == b"123456789"
    assert proxy.statistics().injected == {"throttle": 1}


def test_refused_connections_are_refused_at_the_same_port_and_open_ones_go_on(
    proxy: ChaosProxy, client: socket.socket
) -> None:
    client.sendall(b"a")
    assert received(client, 1) == b"a"
    proxy.refuse()
    with pytest.raises(ConnectionRefusedError):
        connected(proxy)
    client.sendall(b"b")
    assert received(client, 1) == b"b"
    proxy.heal()
    with connected(proxy) as again:
        again.sendall(b"c")
        assert received(again, 1) == b"c"


def test_a_server_that_is_not_there_is_a_reset_and_is_counted() -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        address = gone.getsockname()
    with ChaosProxy(address) as proxy:
        with pytest.raises(ConnectionResetError), connected(proxy) as client:  # as early as while it connects
            client.recv(1)
        assert proxy.statistics().unreachable == 1


def test_a_reset_by_the_server_reaches_the_client() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening, ChaosProxy(listening.getsockname()) as proxy:
        listening.settimeout(PATIENCE_S)
        with connected(proxy) as client:
            server, _ = listening.accept()
            server.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
            server.close()
            with pytest.raises(ConnectionResetError):
                client.recv(1)


def test_a_fault_hits_the_connections_that_it_names(proxy: ChaosProxy) -> None:
    proxy.inject(Cut(how=Ending.RESET), connections={2})
    outcomes = []
    for _ in range(3):
        with connected(proxy) as client:
            client.sendall(b"x")
            try:
                outcomes.append(client.recv(1))
            except ConnectionResetError:
                outcomes.append(b"reset")
    assert outcomes == [b"x", b"reset", b"x"]


def hit(seed: int) -> list[bool]:
    outcomes = []
    with echo_server() as address, ChaosProxy(address, seed=seed) as proxy:
        proxy.inject(Cut(how=Ending.RESET), probability=0.5)
        for _ in range(20):
            with connected(proxy) as client:
                client.sendall(b"x")
                try:
                    outcomes.append(client.recv(1) != b"x")
                except ConnectionResetError:
                    outcomes.append(True)
    return outcomes


def test_by_chance_means_by_the_seed() -> None:
    first = hit(1)
    assert 0 < sum(first) < 20
    assert hit(1) == first
    assert hit(2) != first


def test_a_reset_is_sent_though_a_child_was_forked(proxy: ChaosProxy, client: socket.socket) -> None:
    client.sendall(b"a")
    assert received(client, 1) == b"a"
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:  # lives until the parent lets go of the pipe, and would hold every socket open as long
        os.close(writing)
        os.read(reading, 1)
        os._exit(0)
    os.close(reading)
    try:
        proxy.inject(Cut(how=Ending.RESET))
        client.sendall(b"b")
        with pytest.raises(ConnectionResetError):
            client.recv(1)
    finally:
        os.close(writing)
        os.waitpid(child, 0)


def test_it_leaves_no_thread_and_no_descriptor_behind() -> None:
    gc.collect()  # rubbish of other tests must not go while this one counts
    descriptors, threads = len(os.listdir("/proc/self/fd")), threading.active_count()
    with echo_server() as address, ChaosProxy(address) as other:
        other.inject(Cut(how=Ending.BLACKHOLE))
        with connected(other) as blocked:
            blocked.sendall(b"x")
            other.wait_until(lambda counts: counts.injected.get("blackhole") == 1)
    assert len(os.listdir("/proc/self/fd")) == descriptors
    assert threading.active_count() == threads


@pytest.mark.parametrize("how", [Ending.RESET, Ending.TRUNCATE, Ending.HALF_OPEN])
@pytest.mark.parametrize("direction", ["upstream", "downstream"])
def test_of_a_connection_that_was_cut_nothing_stays_when_both_ends_are_gone(
    proxy: ChaosProxy, how: Ending, direction: str
) -> None:
    proxy.inject(Cut(how=how), direction=direction)
    with connected(proxy) as client:
        client.sendall(b"x")
        proxy.wait_until(lambda counts: counts.injected.get(how.value) == 1)
    proxy.heal()  # else a server whose client is half gone waits for ever
    assert proxy.wait_until(lambda counts: counts.open == 0).connections == 1


def test_a_closed_proxy_says_so(proxy: ChaosProxy) -> None:
    proxy.close()
    proxy.close()
    with pytest.raises(ConnectionRefusedError):
        connected(proxy)
    with pytest.raises(UsageError, match="closed"):
        proxy.inject(Delay(latency_s=1))


def test_what_never_comes_is_not_waited_for_for_ever(proxy: ChaosProxy) -> None:
    with pytest.raises(NotMeasured, match="connections=0"):
        proxy.wait_until(lambda counts: counts.connections == 1, deadline_s=0.01)


@pytest.mark.parametrize(
    ("build", "said"),
    [
        (lambda: Delay(latency_s=-1), "latency_s of a delay"),
        (lambda: Delay(latency_s=float("nan")), "latency_s of a delay"),
        (lambda: Delay(latency_s=1, jitter_s=float("inf")), "jitter_s of a delay"),
        (lambda: Delay(latency_s="1s"), "not '1s'"),  # type: ignore[arg-type]
        (lambda: Throttle(bytes_per_s="1kB"), "not '1kB'"),  # type: ignore[arg-type]
        (lambda: Corrupt(rate=True), "not True"),
        (lambda: SlowClose(delay_s=None), "not None"),  # type: ignore[arg-type]
        (lambda: Cut(how="reset"), r"such as Ending\.RESET"),  # type: ignore[arg-type]
        (lambda: Cut(how=Ending.RESET, after_bytes=1.5), "after_bytes"),  # type: ignore[arg-type]
        (lambda: Throttle(bytes_per_s=0), "bytes_per_s"),
        (lambda: Corrupt(rate=0), "rate"),
        (lambda: Corrupt(rate=1.5), "rate"),
        (lambda: SlowClose(delay_s=0), "delay_s"),
        (lambda: Cut(how=Ending.RESET, after_bytes=-1), "after_bytes"),
    ],
)
def test_faults_that_mean_nothing_are_refused(build: object, said: str) -> None:
    assert callable(build)
    with pytest.raises(UsageError, match=said):
        build()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"direction": "sideways"}, "upstream, downstream, both"),
        ({"connections": {0}}, "counted from 1"),
        ({"connections": ()}, "counted from 1"),
        ({"connections": ["1"]}, "counted from 1"),
        ({"connections": 1}, "such as connections="),
        ({"probability": "half"}, "probability"),
        ({"probability": 0}, "probability"),
    ],
)
def test_rules_that_mean_nothing_are_refused(proxy: ChaosProxy, arguments: dict[str, object], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        proxy.inject(Delay(latency_s=1), **arguments)  # type: ignore[arg-type]
    assert proxy.rules == ()


@pytest.mark.parametrize("given", [5, None, "reset", Cut, {"cut": "reset"}])
def test_what_is_no_fault_is_not_injected(proxy: ChaosProxy, given: object) -> None:
    with pytest.raises(UsageError, match="a fault of the network can't be"):
        proxy.inject(given)  # type: ignore[arg-type]
    assert (proxy.rules, proxy.asked) == ((), "")


def test_injecting_nothing_is_refused(proxy: ChaosProxy) -> None:
    with pytest.raises(UsageError, match="at least one"):
        proxy.inject(direction=Direction.UPSTREAM)
