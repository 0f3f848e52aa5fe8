"""Audio-Omni's own wording comes first; all wordings name what is edited and none says something else."""

import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from manifests.clip import Clip
from manifests.labels import Labels
from manifests.pair import EDITS, Pair
from manifests.scene import Scene, Stem
from manifests.speech import text_of, words_of
from stages.diarize import to_json
from stages.edit import sides
from stages.engines.protocols import Turn
from stages.instruct import SPEECH, beside, heard, instruct, instruct_generate, instruct_noop, instruct_speaker, instruct_speech, named
from stages.scenes.conversation import place
from stages.scenes.conversation import sides as conversation_sides
from stages.scenes.utterance import Change
from stages.wordings import every, wordings

FIRST = {
    "add": "Add the sound of 'dog bark' to the input audio.",
    "remove": "Remove the sound of 'dog bark' from the input audio.",
    "extract": "Extract the sound of 'dog bark' from the input audio.",
    "replace": "Replace the sound of 'dog bark' with 'church bell'.",
    "transfer": "Change the sound of 'dog bark' to 'church bell'.",
}
LABELS = Labels.read()
WORDINGS = tuple(FIRST)  # edits of sounds
SENTENCE = "she said no and he said yes".split()
word = st.sampled_from([*"yes no five or the dog said".split(), *"天谢"])


def spoken(edit: str, words: list[str] = SENTENCE, first: int = 1, last: int = 3, instead: list[str] | None = None) -> tuple[Pair, Change]:
    """A speech edit of words[first:last] of a recording, and the pair that tells of it."""
    instead = (["ate", "bread"] if instead is None else instead) if edit == "speech_substitute" else []
    change = Change(edit, [0], [0], list(words), first, last, instead, [])
    pair = Pair("key", "s", edit, "real", "demo", "speech", "en", "train", 0)
    instruct_speech(pair, change)
    return pair, change


def of_a_speaker(edit: str, subject: int = 1) -> Pair:
    """An edit of one speaker of a conversation of three."""
    turns = to_json([Turn(name, at, at + 1.0) for at, name in enumerate("abacb")])
    scene = place(Scene("s", "conversation", "train", 8000, 1, 0), Clip("talk.wav", 0.0, 5.0, 0, "speech", "real", clip_id="c", duration=5.0, turns=turns))
    pair = Pair("key", "s", edit, "real", "real", "speech", "en", "train", 0)
    pair.before, pair.after, pair.edited = conversation_sides(scene, edit, subject)
    instruct_speaker(pair, scene)
    return pair


def told(edit: str, x: str = "dog bark", y: str = "church bell", split: str = "train", onset: int = 3, length: int = 5, snr: float = 8.0) -> Pair:
    labels = [("background", "rain"), ("event", x), ("event", "door"), ("other", y)]
    scene = Scene("s", "soundscape", split, 8000, 1, 10, [Stem("c", role, label, onset, 0, length, 0, 0, snr_db=snr) for role, label in labels])
    scene.stems[3].place_of, scene.stems[3].follows = 1, edit == "transfer"
    pair = Pair("key", "s", edit, "synthetic", "demo", "sound", "en", split, 0)
    pair.before, pair.after, pair.edited = sides(scene, edit, 1)
    instruct(pair, scene, LABELS)
    return pair


def out_of_silence(**known: str) -> Pair:
    """A pair that makes a clip alone, or where it is a track, that and another."""
    clip = Clip("x.wav", 0.0, 1.0, 0, "sound", "real", **known)
    stems = [Stem("c", clip.role, clip.label, 0, 0, 9, 0, 0)]
    if clip.role == "track":
        stems.append(Stem("d", "track", "cello", 0, 0, 9, 0, 0))
    scene = Scene("s", "piece" if clip.role == "track" else "solo", "train", 8000, 1, 10, stems)
    pair = Pair("key", "s", "generate", "real", "real", "sound", "en", "train", 0)
    pair.before, pair.after, pair.edited = sides(scene, "generate", 0)
    instruct_generate(pair, scene, LABELS, clip)
    return pair


def twice(edit: str, subject: int, first: int = 1, split: str = "train", label: str = "dog bark") -> Pair:
    """An edit in a scene that hears a label as its stems 1 and 2, of which `first` comes first."""
    stems = [Stem("c", role, label, onset, 0, 2, 0, 0, snr_db=8.0) for role, label, onset in
             (("background", "rain", 0), ("event", label, 1), ("event", label, 5), ("other", "church bell", 5))]
    stems[1].nth, stems[2].nth, stems[3].place_of = (1, 2, 2) if first == 1 else (2, 1, 2)
    scene = Scene("s", "soundscape", split, 8000, 1, 10, stems)
    pair = Pair("key", "s", edit, "synthetic", "demo", "sound", "en", split, 0)
    pair.before, pair.after, pair.edited = sides(scene, edit, subject)
    instruct(pair, scene, LABELS)
    return pair


@pytest.mark.parametrize("edit", WORDINGS)
def test_the_first_wording_is_audio_omnis(edit):
    pair = told(edit)
    assert pair.instruction == pair.instructions[0] == FIRST[edit]
    assert pair.label == "dog bark"


@pytest.mark.parametrize(("edit", "subject", "said"), [("extract_speaker", 1, "second speaker"), ("remove_speaker", 0, "first speaker"),
                                                       ("extract_speaker", 2, "third speaker")])
def test_a_speaker_is_named_by_order_of_appearance(edit, subject, said):
    pair = of_a_speaker(edit, subject)
    chinese = f"第{'一二三'[subject]}位说话人"
    assert pair.label == said and all(said in text or chinese in text for text in pair.instructions) and pair.instruction == pair.instructions[0]


@pytest.mark.parametrize("edit", EDITS)
def test_there_are_fifteen_wordings_in_english_and_eight_in_chinese_all_different_and_each_an_edits_own(edit):
    english, chinese = every()[edit]["en"], every()[edit]["zh"]
    assert len(english) >= 15 and len(chinese) >= 8 and all(text.isascii() for text in english) and not any(text.isascii() for text in chinese)
    elsewhere = {text for name, texts in every().items() if name != edit for text in (*texts["en"], *texts["zh"])}
    assert len({*english, *chinese}) == len(english) + len(chinese) and not elsewhere & {*english, *chinese}
    pair = (told(edit) if edit in WORDINGS else spoken(edit)[0] if edit in SPEECH else
            out_of_silence(role="event", label="dog bark") if edit == "generate" else of_a_speaker(edit))
    words = pair.instructions
    assert len(words) >= 18 and len(set(words)) == len(words)


@pytest.mark.parametrize("name", every())
def test_a_fifth_of_the_wordings_is_kept_for_test_and_all_have_the_first(name):
    train, test = wordings(name, "train"), wordings(name, "test")
    whole = [text for texts in every()[name].values() for text in texts]
    assert set(train) | set(test) == set(whole) and set(train) & set(test) == {whole[0]} and train[0] == test[0] == whole[0]
    assert wordings(name, "val") == train and 0.15 <= 1 - len(train) / len(whole) <= 0.3


@pytest.mark.parametrize("edit", WORDINGS)
def test_each_instruction_has_the_wording_that_it_was_made_of_whatever_it_names(edit):
    pair, other = told(edit), told(edit, x="zorp", y="quux")
    assert pair.wordings == other.wordings and pair.wordings[0] == every()[edit]["en"][0] and len(set(pair.wordings)) == len(pair.instructions)
    assert len(other.wordings) == len(other.instructions)
    for wording, said in zip(other.wordings, other.instructions):
        assert all(literal in said for literal, *_ in string.Formatter().parse(wording)), (wording, said)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(WORDINGS), st.text(string.digits + "{}'\"\\ xq", min_size=1, max_size=12), st.text(string.digits + "{}<& yq", min_size=1, max_size=12))
def test_all_wordings_name_a_label_that_is_not_known_whatever_is_in_it(edit, x, y):
    pair = told(edit, x, y)
    assert all(x in words for words in pair.instructions)
    assert all((y in words) for words in pair.instructions if edit in ("replace", "transfer"))
    assert pair.label == x and len(set(pair.instructions)) == len(pair.instructions)


def test_notes_are_spoken_of_where_there_are_some():
    labels = [("track", "flute"), ("track", "cello"), ("other", "oboe")]
    scene = Scene("s", "piece", "train", 8000, 1, 10, [Stem("c", role, label, 0, 0, 10, 0, 0) for role, label in labels])
    scene.stems[2].place_of = 0
    pair = Pair("key", "s", "transfer", "synthetic", "demo", "music", "en", "train", 0)
    pair.before, pair.after, pair.edited = sides(scene, "transfer", 0)
    instruct(pair, scene, LABELS)
    assert "Turn the flute into an oboe, note for note." in pair.instructions and "Turn the flute passage into an oboe." in pair.instructions
    for text in told("transfer").instructions:
        assert not any(word in text for word in ("note", "play", "score", "part of", "演奏", "音符", "部分")), text


def test_music_is_asked_for_by_all_its_instruments():
    pair = out_of_silence(role="track", label="flute")
    assert pair.instruction == "Generate music with a flute and a cello." and pair.target_text == pair.label == "flute and cello" and not pair.source_text
    assert all(("a flute and a cello" in text) != ("长笛、大提琴" in text) for text in pair.instructions)


def test_wordings_have_no_place_that_is_not_filled():
    sounds = {"label", "x", "the", "count", "zh"}
    for name, texts in every().items():
        edit, _, manner = name.partition("_") if name not in EDITS else (name, "", "")
        allowed = {"x", "y", "place"} if edit in SPEECH else {"x", "zh"} if edit.endswith("_speaker") else sounds | {"other", "y", "zh_y"}
        for text in (*texts["en"], *texts["zh"]):
            places = {place for _, place, _, _ in string.Formatter().parse(text) if place}
            telling = {"music": {"x", "zh"}, "speech": {"x"}, "piece": {"y", "zh_y"}}.get(manner, {manner})
            assert places and places <= allowed | telling, text
            assert not manner or places & telling, text
            assert edit not in ("replace", "transfer") or places & {"other", "y", "zh_y"}, text


NTH = {"first": 1, "second": 2, "第一": 1, "第二": 2}
WHERE = {"at the beginning": (0, 3.4), "开头": (0, 3.4), "in the middle": (3.5, 6.5), "中间": (3.5, 6.5), "at the end": (6.6, 10), "结尾": (6.6, 10)}  # apart
LOUD = {" loud ": (15, 99), "响亮": (15, 99), " quiet ": (-99, 3), "轻微": (-99, 3)}


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(["add", "remove", "extract", "replace"]), st.sampled_from(["train", "test"]), st.integers(0, 8), st.integers(1, 5), st.floats(-5, 25))
def test_what_a_wording_claims_of_place_and_loudness_is_so(edit, split, onset, length, snr):
    length = min(length, 10 - onset)
    for text in told(edit, split=split, onset=onset, length=length, snr=snr).instructions:
        assert not any(word in text for word in NTH)
        assert all(low <= onset and onset + length <= high for word, (low, high) in WHERE.items() if word in text), text
        assert all(low <= snr <= high for word, (low, high) in LOUD.items() if word in text), text


def test_place_and_loudness_are_told_where_they_are_clear():
    early, loud, plain = told("remove", onset=0, length=3), told("extract", snr=20.0), told("remove", onset=2, length=7)
    assert any("at the beginning" in text for text in early.instructions) and any("开头" in text for text in early.instructions)
    assert any(" loud " in text for text in loud.instructions) and any("响亮" in text for text in loud.instructions)
    assert len(plain.instructions) == len(wordings("remove", "train"))


@pytest.mark.parametrize("split", ["train", "test"])
@pytest.mark.parametrize("first", [1, 2])
@pytest.mark.parametrize("edit", ["remove", "extract", "replace"])
def test_one_of_two_is_told_by_its_order_in_time(edit, first, split):
    pair, nth = twice(edit, 2, first, split), 2 if first == 1 else 1
    assert len(pair.edited) == (2 if edit == "replace" else 1)
    for text in pair.instructions:
        assert [value for word, value in NTH.items() if word in text] == [nth], text


@pytest.mark.parametrize("edit", ["add", "remove", "extract"])
def test_a_bare_label_means_all_that_bear_it(edit):
    pair = twice(edit, 1)
    assert pair.edited == [1, 2] and not any(word in text for text in pair.instructions for word in NTH)
    assert any("dogs barking" in text for text in pair.instructions)


def test_two_of_what_has_no_plural_are_all_meant():
    pair = twice("remove", 1, label="zorp")
    assert "Take every zorp out of this recording." in pair.instructions and not any("the zorp" in text for text in pair.instructions)


def test_what_is_not_there_is_named_and_nothing_else_is_said():
    scene = Scene("s", "soundscape", "train", 8000, 1, 10, [Stem("c", "background", "rain", 0, 0, 10, 0, 0), Stem("c", "event", "door", 0, 0, 5, 0, 0)])
    pair = Pair("key", "s", "replace", "synthetic", "demo", "sound", "en", "train", 0)
    pair.before = pair.after = [0, 1]
    instruct_noop(pair, scene, LABELS, "dog bark", "door")
    assert pair.instruction == "Replace the sound of 'dog bark' with 'door'." and pair.label == "dog bark"
    assert pair.source_text == pair.target_text == "rain and door"


@pytest.mark.parametrize(("edit", "before", "after"), [
    ("add", "rain and door", "rain, dog bark and door"),
    ("remove", "rain, dog bark and door", "rain and door"),
    ("extract", "rain, dog bark and door", "dog bark"),
    ("replace", "rain, dog bark and door", "rain, door and church bell"),
])
def test_texts_say_what_is_heard_on_each_side(edit, before, after):
    pair = told(edit)
    assert (pair.source_text, pair.target_text) == (before, after)


def test_what_has_no_label_is_not_spoken_of():
    scene = Scene("s", "soundscape", "train", 8000, 1, 10, [Stem("c", "event", label, 0, 0, 5, 0, 0) for label in ("", "dog", "")])
    assert heard(scene, [0, 1, 2]) == "dog"
    assert heard(scene, [0, 2]) == heard(scene, []) == ""


@pytest.mark.parametrize(("edit", "instruction", "label", "source", "target"), [
    ("speech_delete", "Delete 'said no' from the speech.", "said no", "she said no and he said yes", "she and he said yes"),
    ("speech_insert", "Insert 'said no' after 'she' in the speech.", "said no", "she and he said yes", "she said no and he said yes"),
    ("speech_substitute", "Substitute 'ate bread' with 'said no' in the speech.", "ate bread", "she ate bread and he said yes", "she said no and he said yes"),
])
def test_a_speech_edit_tells_its_words_and_the_texts_of_both_sides(edit, instruction, label, source, target):
    pair, _ = spoken(edit)
    assert (pair.instruction, pair.label, pair.source_text, pair.target_text) == (instruction, label, source, target)
    assert pair.instruction == pair.instructions[0]


def test_words_said_more_than_once_are_told_by_their_order():
    assert spoken("speech_delete", first=5, last=6)[0].instruction == "Delete the second 'said' from the speech."
    assert spoken("speech_insert", first=6, last=7)[0].instruction == "Insert 'yes' after the second 'said' in the speech."
    assert spoken("speech_substitute", first=2, last=3, instead=["yes"])[0].instruction == "Substitute the first 'yes' with 'no' in the speech."
    assert spoken("speech_insert", first=0, last=1)[0].instruction == "Insert 'she' before the first 'said' in the speech."


@pytest.mark.parametrize(("edit", "first", "last", "instruction", "chinese", "texts"), [
    ("speech_delete", 4, 6, "Delete '很好' from the speech.", "删除语音中的'很好'。", ("今天天气很好python", "今天天气python")),
    ("speech_delete", 2, 3, "Delete the second '天' from the speech.", "删除语音中的第2个'天'。", ("今天天气很好python", "今天气很好python")),
    ("speech_insert", 3, 7, "Insert '气很好python' after the second '天' in the speech.", "在第2个'天'之后插入'气很好python'。",
     ("今天天", "今天天气很好python")),
    ("speech_substitute", 1, 3, "Substitute '晚上' with '天天' in the speech.", "把语音中的'晚上'替换成'天天'。", ("今晚上气很好python", "今天天气很好python")),
])
def test_what_is_written_without_spaces_is_told_without(edit, first, last, instruction, chinese, texts):
    pair, _ = spoken(edit, [*"今天天气很好", "python"], first, last, ["晚", "上"])
    assert pair.instruction == instruction and chinese in pair.instructions and (pair.source_text, pair.target_text) == texts
    assert f"'{pair.label}'" in instruction


@settings(max_examples=200, deadline=None)
@given(st.lists(word, min_size=2, max_size=14), st.data())
def test_what_an_instruction_names_is_found_in_one_place(words, data):
    first = data.draw(st.integers(0, len(words) - 1))
    count = data.draw(st.integers(1, len(words) - first))
    phrase = words[first : first + count]
    said = named(words, first, count)
    places = [n for n in range(len(words)) if words[n : n + count] == phrase]
    assert f"'{text_of(phrase)}'" in said
    others = [named(words, n, count) for n in places if n != first]
    assert said not in others and (said.startswith("'") == (len(places) == 1))
    assert beside(words, first) not in [beside(words, n) for n in range(len(words)) if n != first]


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(SPEECH), st.lists(word, min_size=2, max_size=9), st.lists(word, min_size=1, max_size=4), st.data())
def test_texts_of_a_speech_edit_differ_by_its_words_alone_and_all_wordings_name_them(edit, words, instead, data):
    first = data.draw(st.integers(0, len(words) - 1))
    last = data.draw(st.integers(first + 1, min(len(words), first + 4)))
    if last - first == len(words):
        first += 1
    pair, _ = spoken(edit, words, first, last, instead)
    longer, shorter = (pair.source_text, pair.target_text) if edit == "speech_delete" else (pair.target_text, pair.source_text)
    assert words_of(longer) == words
    assert words_of(shorter) == [*words[:first], *(instead if edit == "speech_substitute" else []), *words[last:]]
    assert words_of(pair.label) == (instead if edit == "speech_substitute" else words[first:last])
    for said in pair.instructions:
        assert f"'{pair.label}'" in said
        assert edit != "speech_substitute" or f"'{text_of(words[first:last])}'" in said
