"""A server is asked once a recording, again where it fails for a while, and never trusted with more than the recording and its key."""

import base64
import io
import json
import logging
import os
import socket
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
import soundfile

from manifests.errors import Rejected, RequestError
from stages.engines.openai import MOST_BYTES, OpenAI
from stages.engines.prompting import SCHEMA
from stages.engines.registry import load

KEY = "sk-very/secret+0123456789"
GOOD = {"label": "dog bark", "caption": "A dog barks."}


@dataclass
class Reply:
    """What the server does with a request."""

    status: int = 200
    says: object = None  # the message's content; text, or what becomes JSON
    body: bytes | None = None  # in place of a completion
    headers: dict = field(default_factory=dict)
    wait: float = 0.0  # s before it


@dataclass
class Asked:
    """A request that the server got."""

    path: str
    headers: dict
    body: dict
    at: float

    @property
    def audio(self) -> tuple[np.ndarray, int]:
        part = self.body["messages"][0]["content"][0]
        assert part["type"] == "input_audio" and part["input_audio"]["format"] == "wav"
        return soundfile.read(io.BytesIO(base64.b64decode(part["input_audio"]["data"], validate=True)), dtype="int16")

    @property
    def text(self) -> str:
        part = self.body["messages"][0]["content"][1]
        return part["text"] if part["type"] == "text" else ""


class Server:
    """A chat-completions server on this machine; `answer` makes the reply to a request."""

    def __init__(self):
        self.asked, self.looked, self.answer, self.most, self.now = [], [], lambda asked: Reply(says=GOOD), 0, 0
        self.over, lock, server = threading.Event(), threading.Lock(), self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                server.looked.append((self.path, dict(self.headers)))
                self.send_error(404)

            def do_POST(self):
                asked = Asked(self.path, dict(self.headers), json.loads(self.rfile.read(int(self.headers["Content-Length"]))), time.monotonic())
                with lock:
                    server.asked.append(asked)
                    server.now += 1
                    server.most = max(server.most, server.now)
                reply = server.answer(asked)
                server.over.wait(reply.wait)
                with lock:
                    server.now -= 1
                content = reply.says if isinstance(reply.says, str) else json.dumps(reply.says)
                body = reply.body if reply.body is not None else json.dumps({"choices": [{"message": {"role": "assistant", "content": content}}]}).encode()
                try:
                    self.send_response(reply.status)
                    for name, value in {"Content-Length": str(len(body)), **reply.headers}.items():
                        self.send_header(name, value)
                    self.end_headers()
                    self.wfile.write(body)
                except OSError:  # it was hung up on
                    pass

            def log_message(self, *_):
                pass

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}/v1"
        threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def replies(self, *replies: Reply) -> None:
        """Give these in turn, the last of them from then on."""
        left = list(replies)
        self.answer = lambda asked: left.pop(0) if len(left) > 1 else left[0]

    def stop(self) -> None:
        self.over.set()
        self._http.shutdown()
        self._http.server_close()


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    made = Server()
    yield made
    made.stop()


@pytest.fixture
def elsewhere(server):
    made = Server()
    yield made
    made.stop()


def noise(samples: int, seed: int = 0, channels: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-0.5, 0.5, (channels, samples)).astype(np.float32)


def engine(server, **options) -> OpenAI:
    return OpenAI(**{"url": server.url, "model": "omni", "retries": 2, **options})


def test_a_recording_is_sent_as_it_is_and_labelled(server):
    audio = noise(8_000, channels=2)
    (found,) = engine(server).label([audio], 16_000, ["dog bark", "rain"])
    assert (found.label, found.caption) == ("dog bark", "A dog barks.")
    assert found.details == {"model": "omni", "answer": json.dumps(GOOD)}
    (asked,) = server.asked
    sent, rate = asked.audio
    assert asked.path == "/v1/chat/completions" and rate == 16_000
    np.testing.assert_array_equal(sent, np.rint(audio.mean(axis=0) * 32_768))
    assert asked.body["model"] == "omni" and asked.body["temperature"] == 0
    assert asked.body["response_format"]["type"] == "json_schema" and asked.body["response_format"]["json_schema"]["schema"] == SCHEMA
    assert '["dog bark", "rain"]' in asked.text


@pytest.mark.parametrize(("rate", "samples"), [(8_000, 4_000), (44_100, 22_050), (48_000, 24_000), (48_000, 1)])
@pytest.mark.parametrize("channels", [1, 2])
def test_any_rate_and_length_is_sent_at_16_khz(server, rate, samples, channels):
    (found,) = engine(server).label([noise(samples, channels=channels)], rate, [])
    sent, at = server.asked[0].audio
    assert found.label == "dog bark" and at == 16_000 and sent.ndim == 1 and abs(len(sent) - samples * 16_000 / rate) <= 1


def test_silence_and_overshoot_are_sent_as_such(server):
    engine(server, batch=1).label([np.zeros((1, 500), np.float32), np.full((1, 500), 3.0, np.float32)], 16_000, [])
    assert not server.asked[0].audio[0].any() and (server.asked[1].audio[0] == 32_767).all()


def test_the_key_goes_in_its_header_and_nowhere_else(server):
    made = engine(server)
    made.label([noise(100)], 16_000, [])
    assert server.looked[0][0] == "/v1/models" and server.looked[0][1]["Authorization"] == f"Bearer {KEY}"
    assert server.asked[0].headers["Authorization"] == f"Bearer {KEY}"
    assert KEY not in json.dumps(server.asked[0].body) and KEY not in server.asked[0].path and KEY not in repr(made)


def test_the_key_is_taken_from_the_variable_that_is_named_and_may_be_unset(server, monkeypatch):
    monkeypatch.setenv("ANOTHER_KEY", "other\n")
    engine(server, key_env="ANOTHER_KEY").label([noise(100)], 16_000, [])
    assert server.asked[0].headers["Authorization"] == "Bearer other"
    engine(server, key_env="KEY_THAT_IS_NOT_SET").label([noise(100)], 16_000, [])
    assert "Authorization" not in server.asked[1].headers


def test_without_a_key_none_is_looked_for_in_netrc(server, monkeypatch, tmp_path):
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login me password secret\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.delenv("OPENAI_API_KEY")
    engine(server).label([noise(100)], 16_000, [])
    assert "Authorization" not in server.asked[0].headers


def test_a_batch_is_asked_in_parallel_and_answered_in_order(server):
    lengths = [800, 100, 500, 300, 700, 200, 400, 600]
    server.answer = lambda asked: Reply(says={"label": f"sound of {len(asked.audio[0])}", "caption": ""}, wait=len(asked.audio[0]) / 2_000)
    found = engine(server, batch=4).label([noise(n) for n in lengths], 16_000, [])
    assert [one.label for one in found] == [f"sound of {n}" for n in lengths]
    assert 2 <= server.most <= 4


def test_one_that_fails_does_not_touch_the_others(server):
    server.answer = lambda asked: Reply(says=GOOD) if len(asked.audio[0]) != 200 else Reply(413, says="too long")
    found = engine(server).label([noise(100), noise(200), noise(300)], 16_000, [])
    assert [isinstance(one, Rejected) for one in found] == [False, True, False] and "413" in str(found[1])


def test_a_server_that_fails_for_a_while_is_asked_again_ever_later(server):
    server.replies(Reply(500), Reply(503), Reply(says=GOOD))
    (found,) = engine(server).label([noise(100)], 16_000, [])
    first, second, third = (asked.at for asked in server.asked)
    assert found.label == "dog bark" and 0.4 < second - first < (third - second) / 1.5


def test_a_server_that_goes_on_failing_is_told_with_the_number_of_tries(server):
    server.replies(Reply(502))
    (found,) = engine(server, retries=1).label([noise(100)], 16_000, [])
    assert isinstance(found, Rejected) and str(found) == "not labelled in 2 tries: the server answers 502" and len(server.asked) == 2


def test_a_busy_server_is_left_alone_for_as_long_as_it_says(server):
    server.replies(Reply(429, headers={"Retry-After": "1.5"}), Reply(says=GOOD))
    (found,) = engine(server).label([noise(100)], 16_000, [])
    assert found.label == "dog bark" and server.asked[1].at - server.asked[0].at >= 1.5


@pytest.mark.parametrize("after", ["0", "-5", "nan", "inf", "soon", "Wed, 21 Oct 2065 07:28:00 GMT"])
def test_a_retry_after_that_makes_no_sense_delays_nothing(server, after):
    server.replies(Reply(429, headers={"Retry-After": after}), Reply(says=GOOD))
    begin = time.monotonic()
    assert engine(server).label([noise(100)], 16_000, [])[0].label == "dog bark" and time.monotonic() - begin < 5


@pytest.mark.parametrize("reply", [
    Reply(says="I hear a dog."), Reply(says={"label": "dog"}), Reply(says={"label": "", "caption": ""}), Reply(says={"label": 1, "caption": "a"}),
    Reply(says="x" * 100_000), Reply(body=b"<html>"), Reply(body=b""), Reply(body=b"[" * 100_000), Reply(body=b'{"choices": []}'), Reply(body=b"\xff\xfe\xff"),
    Reply(body=b'{"choices": [{"message": {"content": null}}]}'), Reply(body=b'{"choices": {"0": 1}}'), Reply(status=204, body=b""),
])
def test_an_answer_of_another_form_is_asked_again_with_a_reminder_then_told(server, reply):
    server.replies(reply)
    (found,) = engine(server, retries=1).label([noise(100)], 16_000, [])
    assert isinstance(found, Rejected) and str(found) == "not labelled in 2 tries: its answer is not the JSON that was asked for"
    first, second = (asked.text for asked in server.asked)
    assert second.startswith(first) and len(second) > len(first)


def test_an_answer_that_is_right_the_second_time_is_taken(server):
    server.replies(Reply(says="garbage"), Reply(says="```json\n" + json.dumps(GOOD) + "\n```"))
    assert engine(server).label([noise(100)], 16_000, [])[0].label == "dog bark"


def test_of_a_huge_answer_only_the_beginning_is_read(server):
    server.replies(Reply(body=b" " * (MOST_BYTES + 50_000) + b"{}", headers={"Content-Length": str(1 << 40)}))
    begin = time.monotonic()
    (found,) = engine(server, retries=0, timeout=20).label([noise(100)], 16_000, [])
    assert str(found) == f"not labelled in 1 tries: the server's answer is longer than {MOST_BYTES} bytes" and time.monotonic() - begin < 10


def test_a_server_that_hangs_is_given_up_after_the_timeout(server):
    server.replies(Reply(says=GOOD, wait=30))
    begin = time.monotonic()
    (found,) = engine(server, retries=1, timeout=0.4).label([noise(100)], 16_000, [])
    assert str(found) == "not labelled in 2 tries: the server does not answer within 0.4 s" and time.monotonic() - begin < 5


def test_a_server_that_hangs_up_is_asked_again(server):
    server.replies(Reply(body=b"{", headers={"Content-Length": "100"}), Reply(says=GOOD))
    assert engine(server).label([noise(100)], 16_000, [])[0].label == "dog bark"


def test_a_server_that_went_away_is_told(server):
    made = engine(server, retries=1)
    server.stop()
    (found,) = made.label([noise(100)], 16_000, [])
    assert isinstance(found, Rejected) and "the connection fails" in str(found)


def test_a_server_that_takes_no_schema_is_asked_without_it(server):
    server.answer = lambda asked: Reply(400, says="no response_format") if "response_format" in asked.body else Reply(says=GOOD)
    (found,) = engine(server, retries=0).label([noise(100)], 16_000, [])
    assert found.label == "dog bark" and ["response_format" in asked.body for asked in server.asked] == [True, False]


def test_a_recording_that_is_refused_is_told_with_what_the_server_says_of_it_without_the_key(server):
    server.replies(Reply(400, body=f'{{"error": "audio is too\x1b short\n for {KEY}"}}'.encode() + b"x" * 5_000_000))
    (found,) = engine(server).label([noise(100)], 16_000, [])
    assert isinstance(found, Rejected) and "400" in str(found) and "audio is too short for [key]" in str(found)
    assert KEY not in str(found) and len(str(found)) < 300 and str(found).isprintable() and len(server.asked) == 2


@pytest.mark.parametrize(("status", "told"), [(401, "refuses the key"), (403, "refuses the key"), (404, "no model 'omni'")])
def test_a_wrong_key_or_model_ends_it_at_once_with_one_line(server, status, told, caplog):
    server.replies(Reply(status, body=f"wrong key {KEY}".encode()))
    with caplog.at_level(logging.DEBUG), pytest.raises(RequestError, match=told) as error:
        engine(server, retries=4).label([noise(100)], 16_000, [])
    assert len(server.asked) == 1 and "\n" not in str(error.value) and str(status) in str(error.value)
    assert KEY not in str(error.value) and KEY not in caplog.text


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_no_redirect_is_followed(server, elsewhere, status):
    server.replies(Reply(status, body=b"", headers={"Location": f"{elsewhere.url}/chat/completions"}))
    with pytest.raises(RequestError, match="redirects"):
        engine(server).label([noise(100)], 16_000, [])
    assert len(server.asked) == 1 and not elsewhere.asked and not elsewhere.looked


def test_a_recording_is_asked_about_once_however_often_it_comes(server, tmp_path):
    first, second = noise(100, seed=1), noise(100, seed=2)
    found = engine(server, cache=str(tmp_path)).label([first], 16_000, ["rain"])
    assert engine(server, cache=str(tmp_path)).label([first], 16_000, ["rain"]) == found and len(server.asked) == 1
    engine(server, cache=str(tmp_path)).label([first, second], 16_000, ["rain"])
    assert len(server.asked) == 2
    engine(server, cache=str(tmp_path)).label([first], 16_000, ["wind"])
    engine(server, cache=str(tmp_path), model="other").label([first], 16_000, ["rain"])
    assert len(server.asked) == 4
    engine(server).label([first], 16_000, ["rain"])
    assert len(server.asked) == 5


def test_a_broken_kept_answer_is_asked_again_and_what_failed_is_not_kept(server, tmp_path):
    made = engine(server, cache=str(tmp_path), retries=0)
    server.replies(Reply(says="garbage"))
    assert isinstance(made.label([noise(100)], 16_000, [])[0], Rejected) and not [name for _, _, names in os.walk(tmp_path) for name in names]
    server.replies(Reply(says=GOOD))
    made.label([noise(100)], 16_000, [])
    (kept,) = tmp_path.glob("*/*")
    assert KEY not in kept.read_text()
    kept.write_text('{"label": "do')
    assert made.label([noise(100)], 16_000, [])[0].label == "dog bark" and len(server.asked) == 3


def test_what_was_asked_before_changes_no_request(server):
    made = engine(server, batch=1)
    server.answer = lambda asked: Reply(400) if "response_format" in asked.body and len(asked.audio[0]) == 200 else Reply(says=GOOD)
    made.label([noise(100), noise(200), noise(100)], 16_000, [])
    assert server.asked[0].body == server.asked[-1].body


@pytest.mark.parametrize(("option", "value"), [
    ("url", "localhost:8000/v1"), ("url", "ftp://localhost/v1"), ("url", "file:///etc/passwd"), ("url", "http:///v1"), ("url", ""),
    ("url", "http://me:secret@localhost/v1"), ("url", "http://localhost/v1?api-key=secret"), ("model", ""), ("key_env", "sk-secret"), ("key_env", ""),
    ("retries", -1), ("retries", 1_000), ("timeout", 0), ("timeout", float("nan")), ("timeout", -1), ("batch", 0), ("batch", 10_000), ("cache", ""),
])
def test_options_out_of_range_are_refused_by_name(server, option, value):
    with pytest.raises(ValueError, match=option) as error:
        engine(server, **{option: value})
    assert "secret" not in str(error.value) and not server.looked


@pytest.mark.parametrize("key", ["two words", "line\nbreak: yes", "ключ"])
def test_a_key_that_no_header_can_carry_is_refused_untold(server, monkeypatch, key):
    monkeypatch.setenv("OPENAI_API_KEY", key)
    with pytest.raises(RequestError, match="key_env") as error:
        engine(server)
    assert key not in str(error.value)


def test_a_server_that_is_not_there_is_told_when_the_engine_is_loaded(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/v1"
        with pytest.raises(RequestError, match=f"no server answers at {url}") as error:
            load("labeler", {"engine": "openai", "url": url, "model": "omni"})
    assert "\n" not in str(error.value)


def test_it_is_loaded_by_its_name(server):
    made = load("labeler", {"engine": "openai", "url": server.url + "/", "model": "omni", "batch": 3})
    assert type(made) is OpenAI and made.batch == 3 and made.label([noise(10)], 16_000, [])[0].label == "dog bark" and made.label([], 16_000, []) == []
    assert server.asked[0].path == "/v1/chat/completions"
