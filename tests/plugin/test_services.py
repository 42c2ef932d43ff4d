"""The fixtures `fake_llm` and `chaos_proxy`, as their user meets them."""

import pytest

from tests.plugin.running import run as printed

LLM = """
import openai
import pytest

from chaos.faults.feedback import Feedback, FeedbackKind
from chaos.faults.llm import Trouble, Turn


@pytest.fixture
def client(fake_llm):
    with openai.OpenAI(base_url=fake_llm.url, api_key="fake", max_retries=0, timeout=30) as made:
        yield made


def agent(client):
    while True:
        answer = client.chat.completions.create(model="m", messages=[{"role": "user", "content": "better?"}])
        if answer.choices[0].message.content == "done":
            return
        yield answer.choices[0].message.content


def test_naive_agent(fake_llm, client, loop_guard):
    fake_llm.play(Feedback(kind=FeedbackKind.IDENTICAL, texts=("not yet",)))
    for _ in loop_guard.each(agent(client)):
        pass


def test_honest_feedback(fake_llm, client, loop_guard, no_leaks):
    fake_llm.play("one left", "done")
    assert list(loop_guard.each(agent(client))) == ["one left"]
    assert len(fake_llm.journal()) == 2


def test_script_too_short(fake_llm, client):
    fake_llm.play("one left")
    with pytest.raises(openai.BadRequestError):
        list(agent(client))


def test_nobody_asked(fake_llm):
    fake_llm.play("one left")


def test_nobody_may_ask(fake_llm):
    pass


def test_skipped(fake_llm):
    fake_llm.play("one left")
    pytest.skip("not today")


def test_no_turn(fake_llm):
    fake_llm.play(5)


def test_nan(fake_llm, client, finite):
    fake_llm.play(Turn(say="done", trouble=Trouble.NAN_USAGE))
    answer = client.chat.completions.create(model="m", messages=[{"role": "user", "content": "a"}])
    finite(answer.usage.total_tokens, "tokens")
"""
PROXY = """
import contextlib
import socket
import threading

import pytest

from chaos.faults.network import Cut, Delay, Ending


@pytest.fixture
def port():
    with socket.create_server(("127.0.0.1", 0)) as listening:
        def serve():
            try:
                while True:
                    connection, _ = listening.accept()
                    with connection, contextlib.suppress(ConnectionError):
                        connection.sendall(connection.recv(100))
            except OSError:
                pass
        thread = threading.Thread(target=serve)
        thread.start()
        yield listening.getsockname()[1]
        listening.shutdown(socket.SHUT_RDWR)
        thread.join()


def ask(address):
    with socket.create_connection(address, timeout=30) as connection:
        connection.sendall(b"hello")
        return connection.recv(100)


def ask_again(address):
    for _ in range(3):
        try:
            return ask(address)
        except ConnectionError:
            pass


def test_naive(chaos_proxy, port):
    proxy = chaos_proxy(port)
    proxy.inject(Cut(how=Ending.RESET), connections=[1])
    assert ask(proxy.address) == b"hello"


def test_retrying(chaos_proxy, port, no_leaks):
    proxy = chaos_proxy(("127.0.0.1", port))
    proxy.inject(Cut(how=Ending.RESET), connections=[1])
    assert ask_again(proxy.address) == b"hello"
    assert proxy.statistics().connections == 2


def test_not_injected(chaos_proxy, port):
    chaos_proxy(port).inject("reset")


def test_untouched(chaos_proxy, port):
    assert ask(chaos_proxy(port).address) == b"hello"


def test_no_address(chaos_proxy):
    chaos_proxy("localhost")


def test_nothing_tested(chaos_proxy, port):
    proxy = chaos_proxy(port)
    proxy.inject(Delay(latency_s=1), connections=[2])
    assert ask(proxy.address) == b"hello"
"""


def test_an_agent_that_is_told_the_same_for_ever_fails_and_an_honest_one_passes(pytester: pytest.Pytester) -> None:
    told = printed(pytester, LLM, failed=4, passed=3, skipped=1, errors=1)
    assert "loop_guard: rounds 1 to 4 brought the same 4 times" in told
    assert "fake_llm: 1 request came when the script was over" in told
    assert 'fake_llm.play(..., then="last")' in told
    assert (
        told.count("fake_llm: it was given a script, and nobody asked it anything: nothing was tested\n  next: ") == 1
    )
    assert "E       chaos.errors.UsageError: a turn is a text, a Turn or a Feedback, not 5\n" in told
    assert "finite: tokens holds a number that is not finite" in told


def test_a_client_that_can_not_bear_a_reset_fails_and_one_that_retries_passes(pytester: pytest.Pytester) -> None:
    told = printed(pytester, PROXY, failed=3, passed=3, errors=1)
    assert "ConnectionResetError" in told
    assert "a fault of the network can't be 'reset'\nE         next: such as Cut(how=Ending.RESET)" in told
    assert "chaos_proxy: expected a port or (host, port), got 'localhost'" in told
    assert "chaos_proxy: nothing was injected" in told
    assert "1 connection came, and no fault took effect: latency of 1 s, connections 2\n" in told
