"""Labels: what they mean, by whatever name, and which could be mistaken for each other."""

import re
from pathlib import Path

import pytest
import yaml

from manifests.errors import RequestError
from manifests.labels import PACKAGED, Label, Labels
from stages.scenes import general_midi

# ESC-50's classes, as its table has them
ESC50 = """
dog rooster pig cow frog cat hen insects sheep crow
rain sea_waves crackling_fire crickets chirping_birds water_drops wind pouring_water toilet_flush thunderstorm
crying_baby sneezing clapping breathing coughing footsteps laughing brushing_teeth snoring drinking_sipping
door_wood_knock mouse_click keyboard_typing door_wood_creaks can_opening washing_machine vacuum_cleaner clock_alarm clock_tick glass_breaking
helicopter chainsaw siren car_horn engine train church_bells airplane fireworks hand_saw
""".split()
# What General MIDI calls its programs, where the project has another name
STANDARD = """
bright acoustic piano, electric piano 1, electric piano 2, acoustic guitar (nylon), acoustic guitar (steel), electric guitar (jazz),
electric guitar (clean), electric guitar (muted), distortion guitar, acoustic bass, electric bass (finger), electric bass (pick), slap bass 1,
slap bass 2, synth bass 1, synth bass 2, contrabass, orchestral harp, string ensemble 1, string ensemble 2, synth strings 1, synth strings 2,
choir aahs, voice oohs, synth voice, synth brass 1, synth brass 2, soprano sax, alto sax, tenor sax, baritone sax, whistle, lead 1 (square),
lead 2 (sawtooth), lead 3 (calliope), lead 4 (chiff), lead 5 (charang), lead 6 (voice), lead 7 (fifths), lead 8 (bass + lead), pad 1 (new age),
pad 2 (warm), pad 3 (polysynth), pad 4 (choir), pad 5 (bowed), pad 6 (metallic), pad 7 (halo), pad 8 (sweep), fx 1 (rain), fx 2 (soundtrack),
fx 3 (crystal), fx 4 (atmosphere), fx 5 (brightness), fx 6 (goblins), fx 7 (echoes), fx 8 (sci-fi), bagpipe, woodblock
""".replace("\n", " ").strip().split(", ")
SOUNDS_LIKE_YOU = ("ukulele", "euphonium")  # their vowel letter is spoken as "you", so they have "a"


@pytest.fixture(scope="module")
def entries() -> dict[str, dict]:
    return yaml.safe_load(PACKAGED.read_text("utf-8"))


@pytest.fixture(scope="module")
def labels() -> Labels:
    return Labels.read()


def own(folder: Path, text: str) -> Path:
    path = folder / "labels.yaml"
    path.write_text(text, "utf-8")
    return path


def test_there_are_many_and_each_is_found_by_all_its_names(entries, labels):
    assert len(entries) >= 300
    for name, entry in entries.items():
        for word in (name, name.upper(), name.replace(" ", "_"), *entry.get("synonyms", [])):
            assert labels[word].name == name
            assert labels[word].phrase == entry["phrase"]


def test_no_word_has_two_meanings(entries):
    words = [*entries, *(word for entry in entries.values() for word in entry.get("synonyms", []))]
    assert sorted(words) == sorted(set(words))
    assert all(word == " ".join(word.casefold().split()) for word in words)


@pytest.mark.parametrize("name", [general_midi.DRUMS, *(instrument.name for instrument in general_midi.MELODIC)])
def test_instruments_have_the_names_they_are_labelled_with(entries, name):
    assert name in entries


@pytest.mark.parametrize("name", [*general_midi.UNPITCHED, *general_midi.PERCUSSION.values(), *STANDARD, *ESC50])
def test_other_labels_are_known(entries, labels, name):
    assert labels[name].name in entries


def test_the_standards_name_is_the_programs(labels):
    assert labels["lead 8 (bass + lead)"].name == general_midi.name(87)
    assert labels["Contrabass"].name == general_midi.name(43)
    assert labels["whistle"].name == general_midi.name(78)


def test_articles(entries):
    for entry in entries.values():
        for phrase in (entry["phrase"], entry.get("plural", ""), entry.get("count", "")):
            assert not re.match("the ", phrase, re.IGNORECASE), phrase
        article, _, noun = entry["phrase"].partition(" ")
        if article in ("a", "an") and entry["phrase"] != "a cappella singing":
            spoken = noun[0].lower() in "aeiou" and not noun.startswith(SOUNDS_LIKE_YOU)
            assert article == ("an" if spoken else "a"), entry["phrase"]
        assert not re.match("an? ", entry.get("plural", "")), entry
        assert not re.match("an? (?!cappella)", entry.get("count", "")), entry
        assert ("plural" in entry) <= (article in ("a", "an")), f"what is counted has an article: {entry}"


def test_every_entry_is_named_in_chinese_too(entries):
    assert [name for name, entry in entries.items() if not re.search("[\u4e00-\u9fff]", entry.get("zh", ""))] == []


def test_no_packaged_label_is_its_own_ancestor(entries, labels):
    for name, entry in entries.items():
        above = {labels[word].name for word in entry.get("ancestors", [])} - {name}  # "dog bark" has "dog", a synonym
        assert all(name not in labels.family(word) for word in above), name


def test_an_unknown_label_stands_for_itself(labels):
    assert labels["Zorp_Machine"] == Label("zorp machine", "Zorp_Machine", None, "Zorp_Machine", (), (), "Zorp_Machine")


def test_what_an_entry_leaves_out(tmp_path):
    label = Labels.read(own(tmp_path, "Zorp: {phrase: a zorp}"))["zorp"]
    assert label == Label("zorp", "a zorp", None, "Zorp", (), (), "Zorp")


def test_the_users_entry_replaces_the_packaged_one(tmp_path, labels):
    text = "Dog_Bark: {phrase: my dog, synonyms: [Rex]}\nzorp: {phrase: a zorp, synonyms: [Meow], ancestors: [rex]}"
    mine = Labels.read(str(own(tmp_path, text)))
    assert mine["dog bark"].phrase == mine["rex"].phrase == "my dog"
    assert mine["dog"].phrase == "dog"  # a synonym of the entry that is gone
    assert mine["meow"].name == "zorp" and labels["meow"].name == "cat meow"  # the user's word is the user's
    assert mine["cat"].name == "cat meow" and "meow" not in mine["cat"].synonyms
    assert mine.clash("zorp", "dog bark")
    assert mine["rain"] == labels["rain"]


@pytest.mark.parametrize("text, said", [
    ("zorp: {phrse: a zorp}", r"zorp: unknown key 'phrse'; did you mean 'phrase'\?"),
    ("zorp: {phrase: a zorp, synonym: [z]}", r"zorp: unknown key 'synonym'; did you mean 'synonyms'\?"),
    ("zorp: {phrase: a zorp, 7: x}", "zorp: unknown key '7'"),
    ("zorp: {plural: zorps}", "zorp: a label has a phrase"),
    ("zorp: {phrase: }", "zorp: a label has a phrase"),
    ("zorp: a zorp", "zorp: a label has a phrase"),
    ("zorp: {phrase: ' '}", "zorp: phrase is text"),
    ("zorp: {phrase: 7}", "zorp: phrase is text; put it in quotes"),
    ("zorp: {phrase: a zorp, synonyms: zap}", "zorp: synonyms is a list of texts"),
    ("zorp: {phrase: a zorp, ancestors: [animal, 7]}", "zorp: ancestors is a list of texts"),
    ("7: {phrase: a zorp}", "7: a label is text; put it in quotes"),
    ("zorp: {phrase: a zorp, synonyms: [Z_a, z  A]}", "zorp: 'z a' stands twice"),
    ("zorp: {phrase: a zorp, synonyms: [z]}\nzap: {phrase: a zap, synonyms: [Z]}", "zap: 'z' stands twice, and is of 'zorp' already"),
    ("zorp: {phrase: a zorp}\nzap: {phrase: a zap, synonyms: [zorp]}", "zap: 'zorp' stands twice, and is of 'zorp' already"),
    ("zorp: {phrase: a zorp}\nzorp: {phrase: a zap}", "'zorp' stands twice in the table that begins in line 1"),
    ("zorp: {phrase: a zorp}\nZorp: {phrase: a zap}", "zorp: 'zorp' stands twice"),
    ("- zorp", "a labels file is a table"),
    ("", "a labels file is a table"),
    ("zorp: {", "not YAML"),
    ("zorp: !!python/object/apply:os.getcwd []", "not YAML"),
])
def test_a_fault_is_told_in_one_line_that_names_the_file(tmp_path, text, said):
    path = own(tmp_path, text)
    with pytest.raises(RequestError, match=f"^{re.escape(str(path))}: {said}") as error:
        Labels.read(path)
    assert "\n" not in str(error.value)


def test_a_file_that_cannot_be_read(tmp_path):
    with pytest.raises(RequestError, match="none.yaml: No such file or directory"):
        Labels.read(tmp_path / "none.yaml")
    (tmp_path / "latin.yaml").write_bytes(b"caf\xe9: {phrase: a cafe}")
    with pytest.raises(RequestError, match="latin.yaml: not YAML"):
        Labels.read(tmp_path / "latin.yaml")


@pytest.mark.parametrize("one, other", [
    ("dog", "Dog_Barking"), ("zorp", " ZORP"),
    ("dog", "animal"), ("dog howl", "dog bark"), ("pets", "cat purr"),
    ("steel-string guitar", "guitar"), ("slap bass 2", "bass"), ("fiddle", "violin"), ("timpani", "percussion"), ("oboe", "music"),
    ("snare", "drum kit"), ("thunderstorm", "thunder"), ("thunderstorm", "rain"), ("man speaking", "speech"), ("police_siren", "siren"),
    ("car passing by", "traffic"), ("chainsaw", "engine"), ("sea waves", "water"), ("vocals", "singing"),
])
def test_what_a_sentence_could_confuse_clashes(labels, one, other):
    assert labels.clash(one, other) and labels.clash(other, one)


@pytest.mark.parametrize("one, other", [
    ("dog", "cat"), ("cow", "chirping birds"), ("violin", "electric bass (pick)"), ("thunder", "rain"), ("thunder", "wind"),
    ("man speaking", "woman speaking"), ("car horn", "traffic noise"), ("church bells", "music"), ("door knock", "doorbell"), ("zorp", "zap"),
])
def test_what_only_shares_a_far_ancestor_does_not_clash(labels, one, other):
    assert not labels.clash(one, other) and not labels.clash(other, one)


def test_a_family_is_a_label_with_all_that_it_is_a_kind_of(labels):
    assert labels.family("Yapping") == {"yip", "dog bark", "domestic animal", "animal"}
    assert labels.family("slap bass 2") >= {"hard slap bass", "slap bass", "bass guitar", "bass", "musical instrument", "music"}
    assert labels.family("Zorp") == {"zorp"}


def test_a_family_of_a_circle_ends(tmp_path):
    mine = Labels.read(own(tmp_path, "zig: {phrase: a zig, ancestors: [Zag]}\nzag: {phrase: a zag, ancestors: [zig, No_Entry]}"))
    assert mine.family("zig") == mine.family("zag") == {"zig", "zag", "no entry"}


def test_an_own_entry_keeps_the_synonyms_and_ancestors_that_it_does_not_give(tmp_path):
    own = tmp_path / "labels.yaml"
    own.write_text("dog bark: {phrase: a hound barking}\nrain: {phrase: the wet, synonyms: [drizzling]}\n")
    labels, packaged = Labels.read(own), Labels.read()
    assert labels["barking"].phrase == "a hound barking" and labels["dog bark"].ancestors == packaged["dog bark"].ancestors
    assert labels.clash("dog bark", "animal") and labels["rain"].synonyms == ("drizzling",)
