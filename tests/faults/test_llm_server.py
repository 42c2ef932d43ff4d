"""The fake LLM, driven by the official client; only where a client's time-out is meant does a clock end a wait."""

import gc
import http.client
import json
import math
import os
import threading
from collections.abc import Callable, Iterator

import openai
import pytest
from openai.types.chat import ChatCompletion

from chaos.errors import NotMeasured, UsageError
from chaos.faults.feedback import Feedback, FeedbackKind
from chaos.faults.llm import FakeLLM, Outcome, Trouble, Turn

PATIENCE_S = 30.0
SHORT_S = 0.05  # a client's time-out that is meant to run out


@pytest.fixture
def llm() -> Iterator[FakeLLM]:
    with FakeLLM() as server:
        yield server


@pytest.fixture
def client(llm: FakeLLM) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=llm.url, api_key="fake", max_retries=0, timeout=PATIENCE_S) as made:
        yield made


def ask(client: openai.OpenAI, text: str = "Hello, fake.") -> ChatCompletion:
    return client.chat.completions.create(model="fake-chat", messages=[{"role": "user", "content": text}])


def said(client: openai.OpenAI) -> str | None:
    return ask(client).choices[0].message.content


def pieces(client: openai.OpenAI) -> Iterator[str]:
    stream = client.chat.completions.create(
        model="fake-chat", messages=[{"role": "user", "content": "Hello"}], stream=True
    )
    for piece in stream:
        if piece.choices and piece.choices[0].delta.content:
            yield piece.choices[0].delta.content


def test_it_says_text_after_text(llm: FakeLLM, client: openai.OpenAI) -> None:
    llm.play("One.", "Two.")
    first = ask(client)
    assert (first.object, first.model, first.choices[0].finish_reason) == ("chat.completion", "fake-chat", "stop")
    assert first.choices[0].message.content == "One."
    assert said(client) == "Two."


def test_it_counts_words_as_tokens(llm: FakeLLM, client: openai.OpenAI) -> None:
    llm.play("One two three.")
    usage = ask(client).usage
    assert usage is not None
    assert (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens) == (2, 3, 5)


def test_the_same_script_gives_the_same_bytes() -> None:
    found = []
    for _ in range(2):
        with FakeLLM("One.", then="last") as server:
            found.append([raw(server, "POST", "/v1/chat/completions", CHAT) for _ in range(3)])
    assert found[0] == found[1]


def test_it_streams_word_by_word(llm: FakeLLM, client: openai.OpenAI) -> None:
    llm.play("One two  three.\n")
    assert list(pieces(client)) == ["One ", "two  ", "three.\n"]


def test_usage_of_a_stream_comes_last_when_asked_for(llm: FakeLLM, client: openai.OpenAI) -> None:
    llm.play("One two.")
    stream = client.chat.completions.create(
        model="m",
        messages=[{"role": "user", "content": "a"}],
        stream=True,
        stream_options={"include_usage": True},
    )
    *others, last = stream
    assert all(piece.usage is None for piece in others)
    assert last.usage is not None
    assert last.usage.completion_tokens == 2


def test_embeddings_tell_texts_apart_and_have_length_1(llm: FakeLLM, client: openai.OpenAI) -> None:
    llm.play("", then="last")
    made = client.embeddings.create(model="fake-embedding", input=["a", "b", "a"], dimensions=16)
    a, b, again = (one.embedding for one in made.data)
    assert len(a) == 16
    assert a == again != b
    assert math.hypot(*a) == pytest.approx(1)
    assert client.embeddings.create(model="m", input="a", dimensions=16, encoding_format="float").data[
        0
    ].embedding == pytest.approx(a)


def test_models_are_listed_and_take_no_turn(llm: FakeLLM, client: openai.OpenAI) -> None:
    llm.play("One.")
    assert [model.id for model in client.models.list()] == ["fake-chat", "fake-embedding"]
    assert said(client) == "One."


def test_a_request_beyond_the_script_is_refused_and_counted(llm: FakeLLM, client: openai.OpenAI) -> None:
    llm.play("One.")
    ask(client)
    with pytest.raises(openai.BadRequestError, match="script is over"):
        ask(client)
    assert (llm.statistics().requests, llm.statistics().overrun) == (1, 1)


def test_the_last_turn_may_go_on(llm: FakeLLM, client: openai.OpenAI) -> None:
    llm.play("One.", Feedback(kind=FeedbackKind.HONEST, texts=("two", "done")), then="last")
    assert [said(client) for _ in range(5)] == ["One.", "two", "done", "done", "done"]


def test_or_the_whole_script_again(llm: FakeLLM, client: openai.OpenAI) -> None:
    llm.play("One.", Turn(say="Two.", times=2), then="again")
    assert [said(client) for _ in range(4)] == ["One.", "Two.", "Two.", "One."]


@pytest.mark.parametrize(
    ("kind", "texts", "expected"),
    [
        (FeedbackKind.IDENTICAL, ("no",), ["no"] * 5),
        (FeedbackKind.CYCLIC, ("a", "b"), ["a", "b", "a", "b", "a"]),
        (FeedbackKind.HONEST, ("a", "b", "c", "d", "e", "f"), ["a", "b", "c", "d", "e"]),
    ],
)
def test_feedback_is_said_round_after_round(
    llm: FakeLLM, client: openai.OpenAI, kind: FeedbackKind, texts: tuple[str, ...], expected: list[str]
) -> None:
    llm.play(Feedback(kind=kind, texts=texts))
    assert [said(client) for _ in range(5)] == expected


def test_almost_identical_feedback_is_never_the_same(llm: FakeLLM, client: openai.OpenAI) -> None:
    llm.play(Feedback(kind=FeedbackKind.ALMOST, texts=("2026-11-21: attempt 100000 failed",)))
    texts = [said(client) for _ in range(5)]
    assert len(set(texts)) == 5
    assert {text.split(": attempt")[1][8:] for text in texts if text} == {"failed"}


def test_the_client_gives_up_a_request_that_is_never_answered(llm: FakeLLM, client: openai.OpenAI) -> None:
    llm.play(Turn(trouble=Trouble.TIMEOUT), "Back again.")
    with pytest.raises(openai.APITimeoutError):
        ask(client.with_options(timeout=SHORT_S))
    assert said(client) == "Back again."
    assert llm.statistics().injected == {"timeout": 1}


def test_the_client_gives_up_a_stream_that_stalls(llm: FakeLLM, client: openai.OpenAI) -> None:
    llm.play(Turn(say="One two three.", trouble=Trouble.STALL, after_chunks=2))
    with pytest.raises(openai.APITimeoutError):
        list(pieces(client.with_options(timeout=SHORT_S)))


@pytest.mark.parametrize("chunks", [0, 1, 2, 3])
def test_a_stream_stalls_after_exactly_so_many_pieces(llm: FakeLLM, chunks: int) -> None:
    llm.play(Turn(say="One two three four.", trouble=Trouble.STALL, after_chunks=chunks))
    connection = http.client.HTTPConnection("127.0.0.1", llm.port, timeout=PATIENCE_S)
    connection.request("POST", "/v1/chat/completions", chat(stream=True))
    answer = connection.getresponse()
    got = [line for line in (answer.readline() for _ in range(2 * chunks)) if line.strip()]
    assert [line[:6] for line in got] == [b"data: "] * chunks
    llm.close()
    with pytest.raises((http.client.IncompleteRead, ConnectionResetError)):
        answer.read()
    connection.close()


def test_an_answer_stalls_in_its_middle(llm: FakeLLM, client: openai.OpenAI) -> None:
    llm.play(Turn(say="One.", trouble=Trouble.STALL))
    with pytest.raises(openai.APITimeoutError):
        ask(client.with_options(timeout=SHORT_S))
    assert llm.journal()[0].status == 200


def test_a_client_that_leaves_a_stalled_answer_is_noted(llm: FakeLLM) -> None:
    llm.play(Turn(trouble=Trouble.TIMEOUT))
    connection = http.client.HTTPConnection("127.0.0.1", llm.port, timeout=PATIENCE_S)
    connection.request("POST", "/v1/chat/completions", CHAT)
    assert llm.wait_requests(1)[0].outcome is Outcome.HELD
    connection.close()
    while llm.journal()[0].outcome is Outcome.HELD:  # ends with the server's next turn
        threading.Event().wait(0.001)
    assert llm.journal()[0].outcome is Outcome.LEFT
    assert llm.statistics().left == 1


def test_a_rate_limit_says_when_to_come_back(llm: FakeLLM, client: openai.OpenAI) -> None:
    llm.play(Turn(trouble=Trouble.RATE_LIMIT, retry_after_s=7))
    with pytest.raises(openai.RateLimitError) as caught:
        ask(client)
    assert caught.value.code == "rate_limit_exceeded"
    assert caught.value.response.headers["retry-after"] == "7"


def test_the_official_client_retries_after_what_the_server_said(llm: FakeLLM, client: openai.OpenAI) -> None:
    llm.play(Turn(trouble=Trouble.RATE_LIMIT, retry_after_s=0.001, times=2), "At last.")
    assert said(client.with_options(max_retries=2)) == "At last."
    assert [one.trouble for one in llm.journal()] == ["rate limit", "rate limit", ""]


def test_out_of_money_is_told_apart_from_a_rate_limit(llm: FakeLLM, client: openai.OpenAI) -> None:
    llm.play(Turn(trouble=Trouble.NO_MONEY))
    with pytest.raises(openai.RateLimitError) as caught:
        ask(client)
    assert caught.value.code == "insufficient_quota"
    assert "retry-after" not in caught.value.response.headers


@pytest.mark.parametrize("status", [500, 502, 503, 529])
def test_server_errors(llm: FakeLLM, client: openai.OpenAI, status: int) -> None:
    llm.play(Turn(trouble=Trouble.STATUS, status=status))
    with pytest.raises(openai.InternalServerError) as caught:
        ask(client)
    assert caught.value.status_code == status


def test_an_overloaded_server_may_say_when_to_come_back(llm: FakeLLM, client: openai.OpenAI) -> None:
    llm.play(Turn(trouble=Trouble.STATUS, status=503, retry_after_s=2.5))
    with pytest.raises(openai.InternalServerError) as caught:
        ask(client)
    assert caught.value.response.headers["retry-after"] == "2.5"


@pytest.mark.parametrize("chunks", [0, 1])
def test_a_dropped_connection(llm: FakeLLM, client: openai.OpenAI, chunks: int) -> None:
    llm.play(Turn(say="One.", trouble=Trouble.DROP, after_chunks=chunks), "Two.")
    with pytest.raises(openai.APIConnectionError):
        ask(client)
    assert [one.outcome for one in llm.journal()] == [Outcome.DROPPED]
    assert said(client) == "Two."


def test_a_stream_is_dropped_after_so_many_pieces(llm: FakeLLM, client: openai.OpenAI) -> None:
    llm.play(Turn(say="One two three.", trouble=Trouble.DROP, after_chunks=2))
    with pytest.raises(openai.APIConnectionError):
        list(pieces(client))


def test_a_stream_shorter_than_the_script_thought_is_dropped_before_its_end(
    llm: FakeLLM, client: openai.OpenAI
) -> None:
    llm.play(Turn(say="One.", trouble=Trouble.DROP, after_chunks=99))
    with pytest.raises(openai.APIConnectionError):
        list(pieces(client))


@pytest.mark.parametrize("trouble", [Trouble.INVALID_JSON, Trouble.TRUNCATED_JSON])
def test_what_is_no_json_raises_in_the_client(llm: FakeLLM, client: openai.OpenAI, trouble: Trouble) -> None:
    llm.play(Turn(say="One.", trouble=trouble, times=2))
    with pytest.raises((openai.APIError, json.JSONDecodeError)):
        ask(client)
    with pytest.raises((openai.APIError, json.JSONDecodeError)):
        list(pieces(client))
    assert [one.outcome for one in llm.journal()] == [Outcome.ANSWERED] * 2


def test_nan_usage_reaches_the_program(llm: FakeLLM, client: openai.OpenAI) -> None:
    llm.play(Turn(say="One.", trouble=Trouble.NAN_USAGE))
    usage = ask(client).usage
    assert usage is not None
    assert math.isnan(usage.total_tokens)


def test_negative_usage_reaches_the_program(llm: FakeLLM, client: openai.OpenAI) -> None:
    llm.play(Turn(say="One.", trouble=Trouble.NEGATIVE_USAGE))
    usage = ask(client).usage
    assert usage is not None
    assert (usage.prompt_tokens, usage.completion_tokens) == (-3, -2)


def test_a_nan_in_an_embedding(llm: FakeLLM, client: openai.OpenAI) -> None:
    llm.play(Turn(trouble=Trouble.NAN_VECTOR))
    first, second = client.embeddings.create(model="m", input=["a", "b"]).data
    assert [math.isnan(number) for number in first.embedding].count(True) == 1
    assert not any(math.isnan(number) for number in second.embedding)


def test_a_refusal_has_no_content(llm: FakeLLM, client: openai.OpenAI) -> None:
    llm.play(Turn(trouble=Trouble.REFUSED))
    message = ask(client).choices[0].message
    assert (message.content, message.refusal) == (None, "I can't help with that.")


def test_an_answer_without_choices(llm: FakeLLM, client: openai.OpenAI) -> None:
    llm.play(Turn(say="One.", trouble=Trouble.EMPTY, times=2))
    assert ask(client).choices == []
    assert list(pieces(client)) == []


def test_an_answer_that_was_cut_for_its_length_says_so(llm: FakeLLM, client: openai.OpenAI) -> None:
    llm.play(Turn(say="One", finish="length"))
    assert ask(client).choices[0].finish_reason == "length"


def test_the_journal_tells_what_was_asked_and_said_but_no_key(llm: FakeLLM, client: openai.OpenAI) -> None:
    llm.play("One.", Turn(trouble=Trouble.STATUS))
    ask(client, "What is one?")
    with pytest.raises(openai.InternalServerError):
        ask(client, "And two?")
    first, second = llm.journal()
    assert (first.number, first.path, first.model, first.asked) == (1, "/chat/completions", "fake-chat", "What is one?")
    assert (first.said, first.status, first.streamed, first.outcome) == ("One.", 200, False, Outcome.ANSWERED)
    assert (second.trouble, second.status, second.messages[0]["role"]) == ("status", 500, "user")
    assert "fake" not in repr(first).replace("fake-chat", "")


def test_several_clients_at_once_share_the_script(llm: FakeLLM, client: openai.OpenAI) -> None:
    llm.play(Feedback(kind=FeedbackKind.HONEST, texts=tuple(map(str, range(20)))))
    got: list[str | None] = []
    threads = [threading.Thread(target=lambda: got.append(said(client))) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(map(str, got)) == sorted(map(str, range(20)))


def test_closing_lets_stalled_clients_go_and_leaves_nothing(llm: FakeLLM) -> None:
    gc.collect()  # rubbish of other tests must not go while this one counts
    descriptors, threads = len(os.listdir("/proc/self/fd")), threading.active_count()
    server = FakeLLM(Turn(trouble=Trouble.TIMEOUT))
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE_S)
    connection.request("POST", "/v1/chat/completions", CHAT)
    server.wait_requests(1)
    server.close()
    with pytest.raises((http.client.RemoteDisconnected, ConnectionResetError)):
        connection.getresponse()
    connection.close()
    assert len(os.listdir("/proc/self/fd")) == descriptors
    assert threading.active_count() == threads


def test_requests_that_never_come_are_not_waited_for_for_ever(llm: FakeLLM) -> None:
    with pytest.raises(NotMeasured, match="0 of 1"):
        llm.wait_requests(1, deadline_s=0.01)


CHAT = json.dumps({"model": "m", "messages": [{"role": "user", "content": "a"}]}).encode()


def raw(llm: FakeLLM, method: str, path: str, body: bytes = b"") -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", llm.port, timeout=PATIENCE_S)
    try:
        connection.request(method, path, body or None)
        got = connection.getresponse()
        return got.status, got.read()
    finally:
        connection.close()


def chat(**changes: object) -> bytes:
    return json.dumps({**json.loads(CHAT), **changes}).encode()


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "said"),
    [
        ("POST", "/v1/responses", CHAT, 404, "/chat/completions, /embeddings, /models"),
        ("GET", "/v1/chat/completions", b"", 405, "takes POST"),
        ("POST", "/v1/chat/completions", b"{", 400, "not JSON"),
        ("POST", "/v1/chat/completions", chat(temperature=math.nan), 400, "NaN is no JSON number"),
        ("POST", "/v1/chat/completions", b"[]", 400, "not a JSON object"),
        ("POST", "/v1/chat/completions", chat(model=None), 400, "model must be a string"),
        ("POST", "/v1/chat/completions", chat(messages=[]), 400, "messages must be there"),
        ("POST", "/v1/chat/completions", chat(messages=["a"]), 400, "list of objects"),
        ("POST", "/v1/chat/completions", chat(stream=True, stream_options=[1]), 400, "stream_options"),
        ("POST", "/v1/embeddings", b'{"model": "m"}', 400, "input must be there"),
        ("POST", "/v1/embeddings", b'{"model": "m", "input": "a", "dimensions": -1}', 400, "dimensions"),
    ],
)
def test_a_wrong_request_is_refused_and_takes_no_turn(
    llm: FakeLLM, method: str, path: str, body: bytes, status: int, said: str
) -> None:
    llm.play("One.")
    got, answer = raw(llm, method, path, body)
    assert got == status
    assert said in json.loads(answer)["error"]["message"]
    assert raw(llm, "POST", "/v1/chat/completions", CHAT)[0] == 200


def test_what_is_not_http_is_refused(llm: FakeLLM) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", llm.port, timeout=PATIENCE_S)
    connection.connect()
    connection.sock.sendall(b"hello\r\n\r\n")
    assert connection.sock.recv(1000).startswith(b"HTTP/1.1 400 Bad Request")
    connection.close()


def test_a_body_of_unknown_length_is_refused(llm: FakeLLM) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", llm.port, timeout=PATIENCE_S)
    connection.request("POST", "/v1/chat/completions", iter([CHAT]))
    assert connection.getresponse().status == 411
    connection.close()


def test_the_official_client_finds_it_by_the_environment(monkeypatch: pytest.MonkeyPatch, llm: FakeLLM) -> None:
    for name, value in llm.environment.items():
        monkeypatch.setenv(name, value)
    llm.play("One.")
    with openai.OpenAI() as made:
        assert said(made) == "One."


@pytest.mark.parametrize(
    ("build", "reason"),
    [
        (lambda: Turn(times=0), "1 request or more"),
        (lambda: Turn(say="a", feedback=Feedback(kind=FeedbackKind.IDENTICAL, texts=("b",))), "both"),
        (lambda: Turn(trouble=Trouble.STATUS, status=200), "400 to 599"),
        (lambda: Turn(trouble=Trouble.STALL, after_chunks=-1), "0 or more"),
        (lambda: Turn(trouble=Trouble.REFUSED, after_chunks=1), "stall and drop alone"),
        (lambda: Turn(trouble=Trouble.REFUSED, retry_after_s=1), "rate limit and status alone"),
        (lambda: Turn(trouble=Trouble.RATE_LIMIT, retry_after_s=math.inf), "0 or more"),
        (lambda: Turn(trouble=Trouble.RATE_LIMIT, status=503), "status alone"),
        (lambda: FakeLLM("a", then="never"), "end, last, again"),
        (lambda: FakeLLM(then="last"), "without turns"),
    ],
)
def test_scripts_that_make_no_sense_are_refused(build: Callable[[], object], reason: str) -> None:
    threads = threading.active_count()
    with pytest.raises(UsageError, match=reason):
        build()
    assert threading.active_count() == threads


@pytest.mark.parametrize("given", [5, None, b"Hello", ["Hello"], {"say": "Hello"}, Turn, FeedbackKind.HONEST])
def test_what_is_no_turn_is_not_played(llm: FakeLLM, given: object) -> None:
    with pytest.raises(UsageError, match="a turn is a text, a Turn or a Feedback, not"):
        llm.play(given)  # type: ignore[arg-type]
    assert not llm.played


def test_playing_nothing_is_refused(llm: FakeLLM) -> None:
    with pytest.raises(UsageError, match="at least one turn"):
        llm.play()


@pytest.mark.parametrize(
    "wrong",
    [
        {"say": 5},
        {"trouble": "timeout"},
        {"feedback": "no news"},
        {"times": "3"},
        {"times": True},
        {"status": "503", "trouble": Trouble.STATUS},
        {"retry_after_s": "1s", "trouble": Trouble.RATE_LIMIT},
        {"after_chunks": 1.5, "trouble": Trouble.STALL},
        {"finish": None},
    ],
)
def test_a_turn_of_the_wrong_kind_is_refused_by_name(wrong: dict[str, object]) -> None:
    with pytest.raises(UsageError, match=rf"{next(iter(wrong))} of a turn can't be .*\n  next: such as"):
        Turn(**wrong)  # type: ignore[arg-type]


def test_a_trouble_stands_for_a_turn_that_makes_it(llm: FakeLLM, client: openai.OpenAI) -> None:
    llm.play(Trouble.NO_MONEY, "One.")
    with pytest.raises(openai.RateLimitError, match="exceeded your current quota"):
        ask(client)
    assert said(client) == "One."
