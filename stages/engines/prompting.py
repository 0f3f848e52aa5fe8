"""What labelers that are asked in words share: the question, the form of the answer, and a folder of answers that were had.

An answer is text by a stranger: nothing of it is used that is not of this form, and what is used is bounded and printable.
"""

import hashlib
import json
import os
import unicodedata

from manifests.errors import RequestError
from manifests.storage import Storage
from stages.engines.protocols import Described

MOST_LABELS = 200  # that are offered
LONGEST_LABEL, LONGEST_CAPTION, LONGEST_ANSWER = 60, 500, 4_000  # characters
SCHEMA = {
    "type": "object",
    "properties": {"label": {"type": "string"}, "caption": {"type": "string"}},
    "required": ["label", "caption"],
    "additionalProperties": False,
}
PROMPT = """Listen to the recording and say what is heard in it. Answer with JSON only, in this form:
{"label": "short noun phrase", "caption": "one sentence"}
The label names the sound that stands out: a noun phrase of one to four words, in lower case, without a period. \
The caption is one sentence about all that is heard."""
OFFER = "\nIf one of these labels fits, use it as it is; otherwise write your own: "
REMINDER = "\nAnswer with nothing but one JSON object of two strings, label and caption: no other words, no other keys."
UNREADABLE = "its answer is not the JSON that was asked for"


def prompt(labels: list[str]) -> str:
    """The question, with the run's labels to choose among.

    Labels that no answer could hold are left out, as are those in which a model would see its own control tokens ("<|").
    """
    offered = [label for label in dict.fromkeys(labels) if _plain(label, LONGEST_LABEL) and "<|" not in label]
    return PROMPT + (OFFER + json.dumps(offered[:MOST_LABELS], ensure_ascii=False) if offered else "")


def parse(answer: str, model: str) -> Described | None:
    """What an answer says, or None if it is not of the form of `SCHEMA`, alone or in the first fence of ```.

    Of the label, white space is made single spaces, periods at its end go, and it is put in lower case.

    >>> parse('```json\\n{"label": "Dog  bark.", "caption": "A dog barks."}\\n```', "m").label
    'dog bark'
    """
    if len(answer) > LONGEST_ANSWER:
        return None
    found = _object(answer) or _object(answer.partition("```")[2].partition("```")[0].removeprefix("json"))
    if not found or set(found) != set(SCHEMA["required"]) or not all(isinstance(text, str) for text in found.values()):
        return None
    label, caption = _plain(found["label"].lower(), LONGEST_LABEL), _plain(found["caption"], LONGEST_CAPTION)
    label = label and label.rstrip(". ")
    if not label or caption is None or not any(map(str.isalnum, label)):
        return None
    return Described(label, caption, {"model": model, "answer": answer.encode("utf-8", "replace").decode()})


class Answers:
    """A folder with a file for each recording and question that was answered: the answer as it came, read again as one that comes.

    Args:
        folder: path or URI; None keeps nothing.
        asked: who is asked and how: whatever else than question and recording changes the answer.

    Raises:
        ValueError: the folder has no name.
        RequestError: a file stands in its place.
    """

    def __init__(self, folder: str | None, **asked):
        if folder is not None and not folder.strip():
            raise ValueError("cache has no name; a folder, or null to keep no answers")
        self._storage = Storage(folder) if folder is not None else None
        self._asked = asked
        if self._storage is not None and self._storage.local and os.path.isfile(self._storage.root):
            raise RequestError(f"cache: {folder} is a file; a folder, or null to keep no answers")

    def name(self, question: str, audio: bytes) -> str:
        """Of the file of a recording, the same for the same recording and question."""
        asked = json.dumps([self._asked, question], sort_keys=True).encode()
        digest = hashlib.sha256(asked + b"\0" + audio).hexdigest()
        return f"{digest[:2]}/{digest}.txt"

    def find(self, name: str) -> Described | None:
        """What is kept under a name; None if nothing is, or nothing that `parse` takes."""
        if self._storage is None:
            return None
        try:
            kept = self._storage.read(name, 0, 4 * LONGEST_ANSWER + 1)  # a character takes at most four bytes
        except FileNotFoundError:
            return None
        return parse(kept.decode("utf-8", "replace"), self._asked["model"])

    def keep(self, name: str, described: Described) -> None:
        """Keep the answer from which `parse` made this; readers see a whole file or none."""
        if self._storage is not None:
            self._storage.write(name, described.details["answer"].encode())


def _object(text: str) -> dict | None:
    """The JSON object that a text is."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _plain(text: str, most: int) -> str | None:
    """A text with single spaces; None if it holds what cannot be printed, or is longer than `most` characters."""
    if any(unicodedata.category(c)[0] == "C" or c in "\u2028\u2029" for c in text):
        return None
    spaced = " ".join(text.split())
    return spaced if len(spaced) <= most else None
