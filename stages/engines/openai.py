"""Labels by a model behind an OpenAI-compatible server that takes audio (chat completions with `input_audio`).

The form of request and answer is that of https://platform.openai.com/docs/api-reference/chat and of the servers that follow it
(vLLM, llama.cpp). The recordings are sent to the server, and so is the key, which is read from the environment, to nobody else: no redirect
is followed. The proxies that the environment names are used.
"""

import base64
import io
import json
import math
import os
import re
import time
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import numpy as np
import requests
import soundfile

from manifests.audio import to_int16
from manifests.errors import Rejected, RequestError
from stages.engines.loading import mono
from stages.engines.prompting import REMINDER, SCHEMA, UNREADABLE, Answers, parse, prompt
from stages.engines.protocols import Described

RATE = 16_000  # Hz, of what is sent
TEMPERATURE = 0
MOST_TOKENS = 512  # of an answer
MOST_BYTES = 1 << 20  # of a response
FIRST_WAIT, LONGEST_WAIT = 0.5, 60.0  # s; doubled from one try to the next
BUSY = {408, 409, 425, 429}  # statuses, beside 5xx, after which to ask again
FORM = {"type": "json_schema", "json_schema": {"name": "sound", "strict": True, "schema": SCHEMA}}


class _Again(Exception):
    """It may go well another time; `after` is when the server says so, in seconds, or None."""

    def __init__(self, problem: str, after: float | None = None):
        super().__init__(problem)
        self.after = after


class _Straight(requests.Session):
    """Follows no redirect, and reads none."""

    def get_redirect_target(self, resp: requests.Response) -> None:
        return None


class OpenAI:
    """Labeler by a server.

    Args:
        url: of the API, to which /chat/completions is added: http://localhost:8000/v1.
        model: the server's name for it.
        key_env: the environment variable that holds the key; it may be unset where the server wants none.
        retries: after the first try, on a busy or failing server and on answers of the wrong form.
        timeout: s without a word from the server.
        cache: folder of answers, by model, question and recording; whoever puts another model behind the same name empties it.
        batch: recordings asked about at a time.

    Raises:
        ValueError: an option is out of its range.
        RequestError: no server answers at `url`, or the key cannot be one.
    """

    def __init__(self, *, url: str, model: str, key_env: str = "OPENAI_API_KEY", retries: int = 4, timeout: float = 60.0, cache: str | None = None,
                 batch: int = 8):
        address = urlsplit(url)
        if address.scheme not in ("http", "https") or not address.hostname or address.username is not None or address.query or address.fragment:
            raise ValueError("url: http:// or https://, a host and a path, without a password, ? or #")
        if not model:
            raise ValueError("model is empty; the name that the server has for it")
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", key_env):
            raise ValueError("key_env is no name of an environment variable; it names the variable that holds the key, and is not the key")
        if not 0 <= retries <= 20:
            raise ValueError(f"retries is {retries}; 0 to 20")
        if not 0 < timeout <= 3600:
            raise ValueError(f"timeout is {timeout} s; more than 0 and at most 3600")
        if not 1 <= batch <= 256:
            raise ValueError(f"batch is {batch}; 1 to 256")
        self.model, self.retries, self.timeout, self.batch = model, retries, timeout, batch
        self.longest = (retries + 1) * 2 * (timeout + LONGEST_WAIT)  # s that an item may rightly take: each try may be made without the schema too
        self._url, self._key = url.rstrip("/"), os.environ.get(key_env, "").strip()
        if not re.fullmatch(r"[!-~]*", self._key):
            raise RequestError("key_env: the variable that it names holds no key: a key is printable ASCII without spaces")
        self._answers = Answers(cache, engine="openai", model=model, temperature=TEMPERATURE)
        try:
            with _Straight() as session, session.get(f"{self._url}/models", auth=self._sign, timeout=timeout, stream=True) as answer:
                if answer.status_code in (401, 403):
                    raise RequestError(f"key_env: the server at {self._url} refuses the key (status {answer.status_code})")
        except requests.RequestException as error:
            raise RequestError(f"url: no server answers at {self._url} ({type(error).__name__}); start it, or correct url") from None

    def label(self, recordings: list[np.ndarray], rate: int, labels: list[str]) -> list[Described | Rejected]:
        """See `protocols.Labeler`.

        Raises:
            RequestError: the server refuses the key, has no such model or interface, or redirects.
        """
        question = prompt(labels)
        with ThreadPoolExecutor(self.batch) as pool:
            return list(pool.map(lambda audio: self._labelled(_wav(mono(audio, rate, RATE)), question), recordings))

    def _labelled(self, wav: bytes, question: str) -> Described | Rejected:
        """What one recording is, kept or asked; a question whose answer had the wrong form is put again with a reminder."""
        name = self._answers.name(question, wav)
        found, said, wait = self._answers.find(name), question, FIRST_WAIT
        if found is not None:
            return found
        with _Straight() as session:
            for left in reversed(range(self.retries + 1)):
                after = None
                try:
                    found = parse(self._answer(session, wav, said), self.model)
                    if found is not None:
                        self._answers.keep(name, found)
                        return found
                    problem, said = UNREADABLE, question + REMINDER
                except _Again as again:
                    problem, after = str(again), again.after
                except Rejected as rejected:
                    return rejected
                if left:
                    time.sleep(min(LONGEST_WAIT, wait if after is None else after))
                    wait *= 2
        return Rejected(f"not labelled in {self.retries + 1} tries: {problem}")

    def _answer(self, session: requests.Session, wav: bytes, question: str) -> str:
        """What the model says; a server that does not take the schema is asked without it."""
        sound = {"type": "input_audio", "input_audio": {"data": base64.b64encode(wav).decode(), "format": "wav"}}
        content = [sound, {"type": "text", "text": question}]
        request = {"model": self.model, "temperature": TEMPERATURE, "max_tokens": MOST_TOKENS, "messages": [{"role": "user", "content": content}]}
        status, after, body = self._send(session, {**request, "response_format": FORM})
        if status == 400:
            status, after, body = self._send(session, request)
        if status in (401, 403):
            whose = "that of the variable that key_env names" if self._key else "the variable that key_env names is not set"
            raise RequestError(f"{self._url} refuses the key ({status}): {whose}")
        if status == 404:
            raise RequestError(f"{self._url} has no /chat/completions or no model '{self.model}' (404)")
        if 300 <= status < 400:
            raise RequestError(f"{self._url} redirects ({status}), and redirects are not followed; give the address itself as url")
        if status in BUSY or status >= 500:
            raise _Again(f"the server answers {status}", after)
        if status >= 400:
            raise Rejected(f"the server refuses it ({status}): {self._told(body)}")
        if len(body) > MOST_BYTES:
            raise _Again(f"the server's answer is longer than {MOST_BYTES} bytes")
        return _content(body)

    def _send(self, session: requests.Session, request: dict) -> tuple[int, float | None, bytes]:
        """Status, seconds to wait, and at most a little more than `MOST_BYTES` of the body."""
        try:
            with session.post(f"{self._url}/chat/completions", json=request, auth=self._sign, timeout=self.timeout, stream=True) as response:
                body = bytearray()
                for piece in response.iter_content(16_384):
                    body += piece
                    if len(body) > MOST_BYTES:
                        break
                return response.status_code, _seconds(response.headers.get("Retry-After", "")), bytes(body)
        except requests.Timeout:
            raise _Again(f"the server does not answer within {self.timeout:g} s") from None
        except requests.RequestException as error:
            raise _Again(f"the connection fails ({type(error).__name__})") from None

    def _sign(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Put the key into the request's header; as `auth` it keeps requests from looking for another in ~/.netrc."""
        if self._key:
            request.headers["Authorization"] = f"Bearer {self._key}"
        return request

    def _told(self, body: bytes) -> str:
        """The beginning of what an error says, printable and without the key."""
        text = body[:10_000].decode("utf-8", "replace")
        text = " ".join((text.replace(self._key, "[key]") if self._key else text).split())
        return "".join(c for c in text if c.isprintable())[:200]


def _wav(audio: np.ndarray) -> bytes:
    """A WAV file of float32 (samples,): 16 bits, 16 kHz."""
    buffer = io.BytesIO()
    soundfile.write(buffer, to_int16(audio), RATE, format="WAV", subtype="PCM_16")
    return buffer.getvalue()


def _content(body: bytes) -> str:
    """The text of a chat completion; nothing where there is none."""
    try:
        content = json.loads(body)["choices"][0]["message"]["content"]
    except (ValueError, LookupError, TypeError, RecursionError):
        return ""
    return content if isinstance(content, str) else ""


def _seconds(retry_after: str) -> float | None:
    """Of a Retry-After in seconds; None of any other."""
    try:
        seconds = float(retry_after)
    except ValueError:
        return None
    return seconds if seconds >= 0 and math.isfinite(seconds) else None
