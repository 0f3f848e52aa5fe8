"""The question offers the run's labels; of an answer only what has the wanted form is taken; answers that were had are kept by what was asked."""

import json
import os

import pytest

from manifests.errors import RequestError
from stages.engines.prompting import LONGEST_ANSWER, LONGEST_LABEL, MOST_LABELS, SCHEMA, Answers, parse, prompt

GOOD = '{"label": "dog bark", "caption": "A dog barks twice."}'


def files(folder) -> list[str]:
    return sorted(os.path.join(at, name) for at, _, names in os.walk(folder) for name in names)


@pytest.mark.parametrize("answer", [
    GOOD, f"\n  {GOOD}\n", f"```json\n{GOOD}\n```", f"```\n{GOOD}```", f"Here it is:\n```json\n{GOOD}\n```\nAnything else?",
    '{"caption": "A dog barks twice.", "label": "  Dog \u00a0 Bark. "}',
])
def test_an_answer_is_read_plain_or_fenced_and_its_label_normalised(answer):
    found = parse(answer, "some-model")
    assert (found.label, found.caption) == ("dog bark", "A dog barks twice.")
    assert found.details == {"model": "some-model", "answer": answer}


@pytest.mark.parametrize("answer", [
    "", "a dog barks", "null", "[]", "{}", "[" * 3_000, '{"a":' * 600, GOOD[:-1], GOOD + GOOD, f"so: {GOOD}", '{"label": "dog bark"}',
    '{"label": "dog bark", "caption": null}', '{"label": ["dog"], "caption": ""}', '{"label": 5, "caption": "five"}', '{"label": {}, "caption": ""}',
    '{"label": "dog bark", "caption": "", "confidence": 1}', '{"label": "", "caption": "nothing"}', '{"label": " . ", "caption": "nothing"}',
    '{"label": "?!", "caption": "nothing"}', '{"label": "dog\\u0000bark", "caption": ""}', '{"label": "dog\\nbark", "caption": ""}',
    '{"label": "dog\\u001b[31m", "caption": ""}', '{"label": "dog", "caption": "a \\u202e dog"}', '{"label": "dog \\ud800", "caption": ""}',
    '{"label": "dog", "caption": "a\\u2028dog"}', json.dumps({"label": "d" * (LONGEST_LABEL + 1), "caption": ""}),
    json.dumps({"label": "dog", "caption": "a" * 501}), GOOD + " " * LONGEST_ANSWER, "```json\nnot json\n```", "```" * 1_000,
])
def test_an_answer_of_another_form_is_none(answer):
    assert parse(answer, "m") is None


def test_what_a_label_may_be():
    for label in ("d" * LONGEST_LABEL, "Straßenbahn", "собака", "犬", "808 kick"):
        assert parse(json.dumps({"label": label, "caption": ""}), "m").label == label.lower()


def test_what_is_kept_of_an_answer_can_be_written():
    found = parse(f"\ud800 ```json\n{GOOD}\n```", "m")
    assert found.label == "dog bark" and json.dumps(found.details, ensure_ascii=False).encode()


def test_the_schema_is_of_what_is_parsed():
    assert set(SCHEMA["properties"]) == set(SCHEMA["required"]) == set(json.loads(GOOD)) and SCHEMA["additionalProperties"] is False


def test_the_runs_labels_are_offered_once_each_and_not_too_many():
    assert "dog bark" not in prompt([]) and "If one of these" not in prompt([])
    assert prompt(["dog bark", "rain", "dog bark"]).endswith('["dog bark", "rain"]')
    many = [f"label {n}" for n in range(MOST_LABELS + 50)]
    assert json.loads("[" + prompt(many).rpartition("[")[2]) == many[:MOST_LABELS]


@pytest.mark.parametrize("label", ["", "  ", "a\nb", "<|AUDIO|>", "dog <|im_end|>", "x" * (LONGEST_LABEL + 1)])
def test_labels_that_could_be_taken_for_something_else_are_not_offered(label):
    assert prompt(["rain", label]) == prompt(["rain"])


def test_an_answer_is_found_again_by_another_reader_and_only_for_what_was_asked(tmp_path):
    answers = Answers(str(tmp_path / "kept"), model="m", temperature=0)
    assert answers.find(answers.name("what?", b"sound")) is None
    found = parse(f"```json\n{GOOD}\n```", "m")
    answers.keep(answers.name("what?", b"sound"), found)
    again = Answers(str(tmp_path / "kept"), model="m", temperature=0)
    assert again.find(again.name("what?", b"sound")) == found
    assert again.find(again.name("what?", b"sounds")) is None and again.find(again.name("what? ", b"sound")) is None
    for asked in ({"model": "n", "temperature": 0}, {"model": "m", "temperature": 1}):
        other = Answers(str(tmp_path / "kept"), **asked)
        assert other.find(other.name("what?", b"sound")) is None


def test_one_file_a_clip_and_nothing_left_aside(tmp_path):
    answers = Answers(str(tmp_path), model="m")
    for sound in (b"1", b"2", b"2"):
        answers.keep(answers.name("what?", sound), parse(GOOD, "m"))
    assert len(files(tmp_path)) == 2 and all(name.endswith(".txt") for name in files(tmp_path))


@pytest.mark.parametrize("damage", [b"", GOOD[:20].encode(), b"\xff\xfe\x00", b"x" * 10_000_000])
def test_a_broken_file_is_as_none(tmp_path, damage):
    answers = Answers(str(tmp_path), model="m")
    name = answers.name("what?", b"sound")
    answers.keep(name, parse(GOOD, "m"))
    (tmp_path / name).write_bytes(damage)
    assert answers.find(name) is None
    answers.keep(name, parse(GOOD, "m"))
    assert answers.find(name).label == "dog bark"


def test_without_a_folder_nothing_is_kept(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    answers = Answers(None, model="m")
    answers.keep(answers.name("what?", b"sound"), parse(GOOD, "m"))
    assert answers.find(answers.name("what?", b"sound")) is None and files(tmp_path) == []


def test_a_folder_that_is_none_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="cache"):
        Answers(" ", model="m")
    with pytest.raises(RequestError, match="cache: .*file is a file"):
        Answers(str(tmp_path / "file"), model="m")
