"""A fleet's way to its service: cut for those who are meant, as long as it lasts, and told in the plan."""

import os
import socket
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from chaos.child.witness import Witness
from chaos.errors import UsageError
from chaos.faults.network_rules import Cut, Delay, Direction, Ending, Rule, rule_words
from chaos.fleet import FaultKind, Plan, Strike, parse_plan
from chaos.scenario.fields.fleet import fault_from
from tests.fleet.running import ran

RESET = Rule(fault=Cut(how=Ending.RESET))


def cuts(*workers: int, lasts_s: float | None = None, times: int = 1) -> Plan:
    strikes = (
        Strike(at_s=0.1 * number, kind=FaultKind.NETWORK, workers=workers, lasts_s=lasts_s, rules=(RESET,))
        for number in range(times)
    )
    return Plan(workers=2, strikes=tuple(strikes))


def echo(_: Path, listening: socket.socket) -> None:
    """Sends back what it gets, one connection after the other."""
    while True:
        connection, _address = listening.accept()
        with suppress(OSError), connection:
            while data := connection.recv(100):
                connection.sendall(data)


def asks(disk: Path, witness: Witness) -> str:
    """Asks until it is answered, and tells of each time that it was not."""
    host, _, port = os.environ["CHAOS_SERVICE"].partition(":")
    while True:
        with suppress(OSError), socket.create_connection((host, int(port))) as connection:
            connection.sendall(b"?")
            if connection.recv(1) == b"?":
                return "answered"
        (disk / "was cut").touch()
        witness("cut")


def test_the_worker_that_is_cut_off_comes_through_when_it_is_over_and_others_do_not_notice() -> None:
    def worker(disk: Path, witness: Witness) -> None:
        asks(disk, witness)
        while witness.number == 1 and not (disk / "was cut").exists():  # it was quicker than the cut
            asks(disk, witness)

    # However busy the machine is, it meets one of them.
    found = ran(worker, plan=cuts(1, lasts_s=0.05, times=200), service=echo, finish_s=30.0)
    assert [one.returned for one in found.course.crew] == [True, True]
    assert (found.of(0, "a"), bool(found.of(1, "a"))) == ([], True)
    assert found.course.fired >= 1


def test_workers_are_healed_when_the_faults_are_over() -> None:
    found = ran(asks, plan=cuts(0, 1), service=echo, duration_s=0.2, finish_s=30.0)
    assert [one.returned for one in found.course.crew] == [True, True]


def test_a_fault_that_met_no_connection_did_not_strike() -> None:
    found = ran(lambda disk, witness: None, plan=cuts(0), service=echo)
    assert found.course.fired == 0


def test_a_service_is_gone_with_its_fleet_and_is_no_stray() -> None:
    before = {child.pid for child in psutil.Process().children(recursive=True)}
    assert ran(asks, plan=cuts(0, lasts_s=0.01), service=echo, finish_s=30.0).course.strays == ()
    assert {child.pid for child in psutil.Process().children(recursive=True)} <= before


def test_a_fault_of_the_network_needs_a_service() -> None:
    with pytest.raises(UsageError, match="needs a service"):
        ran(asks, plan=cuts(0))


def test_a_service_that_ends_by_itself_is_told() -> None:
    def broken(_: Path, listening: socket.socket) -> None:
        raise RuntimeError("no memory of it")

    with pytest.raises(UsageError, match=r"service ended with exit code 1.*RuntimeError: no memory of it"):
        ran(asks, plan=cuts(0), service=broken)


def test_a_plan_tells_what_is_done_to_connections() -> None:
    rules = (RESET, Rule(fault=Delay(latency_s=0.25), direction=Direction.UPSTREAM, probability=0.5))
    plan = Plan(workers=1, strikes=(Strike(at_s=0.5, kind=FaultKind.NETWORK, workers=(0,), rules=rules),))
    assert parse_plan(plan.text) == plan
    assert str(plan.strikes[0]) == "network (reset after 0 bytes; latency of 0.25 s, upstream) of worker 0 at 0.500 s"
    assert [rule_words(rule) for rule in rules] == ["reset after 0 bytes", "latency of 0.25 s, upstream"]


def test_a_table_of_a_scenario_file_says_what_is_done() -> None:
    fault = fault_from({"kind": "network", "every": "1s", "lasts": "50ms", "cut": "blackhole", "latency": "1s"})
    assert [type(rule.fault) for rule in fault.rules] == [Delay, Cut]
    assert (fault.every_s, fault.lasts_s) == (1.0, 0.05)


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({"kind": "network", "every": "1s"}, "lacks what is done"),
        ({"kind": "kill", "every": "1s", "cut": "reset"}, "has what is done"),
        ({"kind": "network", "every": "1s", "jitter": "1s"}, "latency alone"),
    ],
)
def test_a_table_that_means_nothing_is_refused(table: dict[str, str], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        fault_from(table)
