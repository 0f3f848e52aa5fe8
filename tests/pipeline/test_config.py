"""A wrong configuration is told in one line that names the key, before any work."""

import pathlib
import signal
import subprocess
import sys

import pytest
import yaml

from manifests.errors import RequestError
from manifests.strict import read_yaml
from pipeline.cli import main
from pipeline.read_config import load
from pipeline.source_kinds import Folder, Manifest

ROOT = pathlib.Path(__file__).parents[2]
GOOD = {"sources": [{"kind": "soundfont", "pieces": 3}], "edits": {"add": 3}}


@pytest.fixture
def write(tmp_path):
    """Write a good configuration with changes, or text as it is, and give its path."""

    def put(value: dict | str | bytes = (), **changes) -> str:
        path = tmp_path / "config.yaml"
        value = yaml.safe_dump({**GOOD, **dict(value), **changes}) if isinstance(value, (dict, tuple)) else value
        path.write_bytes(value.encode() if isinstance(value, str) else value)
        return str(path)

    return put


@pytest.fixture
def refusal(tmp_path, capsys):
    """What `build` says in its one line, exit code 2, and that it left nothing behind."""

    def build(config: str, *more: str) -> str:
        before = signal.getsignal(signal.SIGTERM)
        try:
            code = main(["build", config, "-o", str(tmp_path / "run"), *more])
        finally:
            signal.signal(signal.SIGTERM, before)
        said = capsys.readouterr()
        assert code == 2, said
        assert said.out == "" and said.err.startswith("audioedit: ") and said.err.count("\n") == 1 and said.err.endswith("\n"), said
        assert not (tmp_path / "run").exists()
        return said.err

    return build


@pytest.mark.parametrize(("changes", "key", "right"), [
    ({"seed": "seven"}, "seed", "integer"),
    ({"seed": -1}, "seed", "greater than or equal to 0"),
    ({"seed": 1.5}, "seed", "integer"),
    ({"audio": [44100]}, "audio", "dictionary"),
    ({"audio": None}, "audio", "dictionary"),
    ({"audio": {"sample_rate": "fast"}}, "audio.sample_rate", "integer"),
    ({"audio": {"sample_rate": 10}}, "audio.sample_rate", "8000"),
    ({"audio": {"channels": 6}}, "audio.channels", "1 or 2"),
    ({"audio": {"seconds": float("nan")}}, "audio.seconds", "600"),
    ({"sources": []}, "sources", "at least 1"),
    ({"sources": {"kind": "folder", "path": "x"}}, "sources", "list"),
    ({"sources": ["sounds/"]}, "sources.0", "dictionary"),
    ({"sources": [{"kind": "folder"}]}, "sources.0.path", "required"),
    ({"sources": [{"kind": "folder", "path": 3}]}, "sources.0.path", "string"),
    ({"sources": [{"kind": "folder", "path": "x", "label": "grandparent"}]}, "sources.0.label", "'parent' or 'stem'"),
    ({"sources": [{"kind": "manifest", "path": "x.csv", "domain": "noise"}]}, "sources.0.domain", "'sound', 'music' or 'speech'"),
    ({"sources": [{"kind": "soundfont", "pieces": -2}]}, "sources.0.pieces", "0"),
    ({"edits": ["add"]}, "edits", "dictionary"),
    ({"edits": {"add": "many"}}, "edits.add", "dictionary"),
    ({"edits": {"add": True}}, "edits.add", "dictionary"),
    ({"edits": {"add": -1}}, "edits.add.pairs", "0"),
    ({"edits": {}}, "edits", "no pairs"),
    ({"edits": {"add": 0, "remove": 0}}, "edits", "no pairs"),
    ({"split": {"train": 0.5, "val": 0.1, "test": 0.1}}, "split", "is 0.7, not 1"),
    ({"split": {"train": 1.0}}, "split", "is 1.2, not 1"),
    ({"split": {"train": 1.5, "val": -0.5, "test": 0}}, "split.train", "1"),
    ({"shards": {"pairs": 0}}, "shards.pairs", "1"),
    ({"shards": {"pairs": 9000}}, "shards.pairs", "at most"),
    ({"missing": "ignore"}, "missing", "'fail' or 'skip'"),
    ({"licenses": {"allow": "cc0-1.0"}}, "licenses.allow", "list"),
    ({"licenses": {"allow": []}}, "licenses.allow", "at least 1"),
    ({"licenses": {"allow": [" "]}}, "licenses.allow.0", "at least 1"),
    ({"clips": {"floor_db": "low"}}, "clips.floor_db", "number"),
    ({"clips": {"event_seconds": [1]}}, "clips.event_seconds.1", "required"),
    ({"resources": {"render": {"cpus": -1}}}, "resources.render.cpus", "0"),
    ({"resources": {"render": {"actors": 0}}}, "resources.render.actors", "1"),
    ({"resources": {"clap": {"gpus": 0.5}}}, "resources.clap", "gpus needs actors"),
    ({"filters": {"rules": [{"score": "snr_db", "min": "low"}]}}, "filters.rules.0.min", "number"),
    ({"filters": {"stop": {"kept": 50}}}, "filters.stop.kept", "1"),
    ({"filters": {"stop": {"parts": 0}}}, "filters.stop.parts", "1"),
    ({"filters": {"stop": "never"}}, "filters.stop", "dictionary"),
    ({"filters": {"rules": [{"score": "snr_db"}]}}, "filters.rules.0", "neither min, max nor equals"),
])
def test_a_wrong_value_is_told_with_its_key_and_what_would_be_right(write, refusal, changes, key, right):
    path = write(changes)
    said = refusal(path)
    assert said.startswith(f"audioedit: {path}: {key}: ") and right in said


@pytest.mark.parametrize(("changes", "key", "meant"), [
    ({"sead": 1}, "sead", "seed"),
    ({"edit": {"add": 1}}, "edit", "edits"),
    ({"audio": {"sample_rte": 44100}}, "audio.sample_rte", "sample_rate"),
    ({"sources": [{"kind": "folder", "path": "x", "lable": "parent"}]}, "sources.0.lable", "label"),
    ({"sources": [{"kind": "folder", "pth": "x"}]}, "sources.0.pth", "path"),
    ({"sources": [{"kind": "soundfont", "piece": 3}]}, "sources.0.piece", "pieces"),
    ({"clips": {"floordb": 3}}, "clips.floordb", "floor_db"),
    ({"edits": {"add": {"pair": 3}}}, "edits.add.pair", "pairs"),
    ({"filters": {"rule": []}}, "filters.rule", "rules"),
    ({"filters": {"stop": {"keep": 0.5}}}, "filters.stop.keep", "kept"),
    ({"filters": {"store_reject": True}}, "filters.store_reject", "store_rejected"),
    ({"filters": {"rules": [{"score": "snr_db", "mim": 1}]}}, "filters.rules.0.mim", "min"),
    ({"split": {"train": 0.8, "valid": 0.1, "test": 0.1}}, "split.valid", "val"),
    ({"shards": {"pair": 64}}, "shards.pair", "pairs"),
    ({"licences": {"allow": None}}, "licences", "licenses"),
    ({"resources": {"rendr": {}}}, "resources.rendr", "render"),
    ({"resources": {"render": {"cpu": 1}}}, "resources.render.cpu", "cpus"),
])
def test_an_unknown_key_is_told_with_the_one_that_was_meant(write, refusal, changes, key, meant):
    path = write(changes)
    assert refusal(path) == f"audioedit: {path}: {key}: unknown key; did you mean '{meant}'?\n"


@pytest.mark.parametrize(("changes", "words"), [
    ({"sources": [{"kind": "foldr", "path": "x"}]}, ["sources.0", "kind", "folder, manifest, soundfont"]),
    ({"sources": [{"path": "x"}]}, ["sources.0", "kind", "folder, manifest, soundfont"]),
    ({"edits": {"ad": 1}}, ["edits", "'ad'", "did you mean 'add'?", "add, remove, extract, replace, transfer"]),
    ({"edits": {"qqqqq": 1}}, ["edits", "'qqqqq'", "add, remove, extract, replace, transfer"]),
    ({"edits": {1: 2}}, ["edits", "'1'"]),
    ({"filters": {"rules": [{"score": "snr", "min": 1}]}}, ["filters.rules.0", "'snr'", "snr_db"]),
    ({"zzzzz": 1}, ["zzzzz", "unknown key"]),
    ({1: 2}, ["1", "string"]),
    ({"a\nb": 2}, ["a b", "unknown key"]),
])
def test_an_unknown_kind_edit_score_or_name(write, refusal, changes, words):
    said = refusal(write(changes))
    assert all(word in said for word in words), said


def test_no_sources_and_no_edits(write, refusal):
    assert "sources: field required" in refusal(write("edits: {add: 1}\n"))
    assert "edits: field required" in refusal(write("sources: [{kind: soundfont, pieces: 1}]\n"))


@pytest.mark.parametrize("text", [
    "sources: [", "a: b: c\n", "a:\n\t- b\n", b"\xff\xfes\x00", bytes(range(256)), "a: 1\n---\nb: 2\n", "? [a]\n: b\n", "seed: 2020-99-99\n", "[" * 5000,
    "{a: " * 1_000_000,
], ids=["open", "colons", "tab", "utf-16", "binary", "two", "key", "date", "deep", "deeper"])
def test_what_is_not_yaml(write, refusal, text):
    path = write(text)
    assert refusal(path).startswith(f"audioedit: {path}: not YAML: ")


def test_a_key_that_stands_twice_is_told(write, refusal):
    path = write("seed: 1\nsources: [{kind: soundfont, pieces: 1}]\nedits:\n  add: 1\n  remove: 2\n  add: 3\n")
    assert refusal(path) == f"audioedit: {path}: 'add' stands twice in the table that begins in line 4\n"


def test_a_merged_table_may_change_a_key(write):
    path = write("audio: &there {seconds: 5.0}\nother: {inner: &changed {<<: *there, seconds: 7.0}}\nlast: {<<: *changed}\n")
    assert read_yaml(path) == {"audio": {"seconds": 5.0}, "other": {"inner": {"seconds": 7.0}}, "last": {"seconds": 7.0}}


@pytest.mark.parametrize("text", ["", "# nothing\n", "- a\n- b\n", "hello\n", "3\n"])
def test_a_list_or_a_word_instead_of_a_table(write, refusal, text):
    path = write(text)
    assert refusal(path).startswith(f"audioedit: {path}: ") and "table of keys" in refusal(path)


@pytest.mark.parametrize("tag", ["!!python/object/apply:os.system [\"touch {}\"]", "!!python/object/apply:subprocess.check_call [[touch, {}]]",
                                 "!!python/name:os.system", "!!python/object/new:os.system [\"touch {}\"]"])
def test_yaml_makes_no_objects_and_calls_nothing(write, refusal, tmp_path, tag):
    made = tmp_path / "made"
    assert "not YAML" in refusal(write(f"seed: {tag.format(made)}\nsources: [{{kind: soundfont, pieces: 1}}]\nedits: {{add: 1}}\n"))
    said = refusal(write(), "--set", f"seed={tag.format(made)}")
    assert said.startswith("audioedit: --set seed=") and not made.exists()


def test_a_file_that_is_not_there(refusal, tmp_path, write):
    assert refusal(str(tmp_path / "none.yaml")) == f"audioedit: {tmp_path / 'none.yaml'}: No such file or directory\n"
    assert str(tmp_path) in refusal(str(tmp_path))  # a folder
    assert "config.yaml/x" in refusal(write() + "/x")


@pytest.mark.parametrize(("change", "words"), [
    ("seed", "key.sub=value"),
    ("seed=[", "not YAML"),
    ("seed=2020-99-99", "not YAML"),
    ("sources.3.pieces=5", "no sources.3.pieces"),
    ("sources.x=1", "no sources.x"),
    ("sources.\u00b2.pieces=1", "no sources.\u00b2.pieces"),
    ("seed.sub=1", "no seed.sub"),
    ("seed=seven", "seed: "),
    ("edits.ad=9", "did you mean 'add'?"),
    ("audio.sample_rte=9", "audio.sample_rte: unknown key; did you mean 'sample_rate'?"),
    ("=3", "unknown key"),
    ("sources=", "sources: "),
])
def test_set_that_is_wrong(write, refusal, change, words):
    assert words in refusal(write(seed=1), "--set", change)


def test_set_changes_one_key_and_leaves_the_rest(write):
    path = write(seed=5, audio={"channels": 2})
    config = load(path, ["edits.add=9", "audio.sample_rate=16000", "sources.0.pieces=7", "edits.remove={pairs: 2}", "shards.pairs=3", "seed=6"])
    assert config.wanted == {"add": 9, "remove": 2} and config.seed == 6 and config.shards.pairs == 3
    assert (config.audio.sample_rate, config.audio.channels, config.sources[0].pieces) == (16000, 2, 7)


def test_paths_are_relative_to_the_configuration(write, tmp_path, monkeypatch):
    monkeypatch.chdir("/")
    monkeypatch.setenv("HOME", "/home/someone")
    paths = ["sounds/", "../speech.csv", "/abs/x.csv", "~/mine", "s3://bucket/x"]
    config = load(write(sources=[{"kind": "manifest" if p.endswith("csv") else "folder", "path": p} for p in paths]))
    assert [type(s) for s in config.sources] == [Folder, Manifest, Manifest, Folder, Folder]
    assert [s.path for s in config.sources] == [
        str(tmp_path / "sounds"), str(tmp_path.parent / "speech.csv"), "/abs/x.csv", "/home/someone/mine", "s3://bucket/x"]


def test_identity_has_all_but_resources_and_when_to_stop(write):
    one = load(write(seed=1)).identity()
    assert one == load(write(seed=1, filters={"stop": None})).identity() == load(write(seed=1, filters={"stop": {"kept": 0.1, "parts": 2}})).identity()
    assert one == load(write(seed=1, resources={"render": {"cpus": 2, "actors": 3}})).identity()
    for changes in ({"seed": 2}, {"edits": {"add": 4}}, {"split": {"train": 0.6, "val": 0.2, "test": 0.2}}, {"clips": {"floor_db": 21.0}},
                    {"filters": {"rules": []}}, {"missing": "skip"}, {"shards": {"pairs": 65}}, {"audio": {"seconds": 9.0}},
                    {"licenses": {"allow": ["cc0-1.0"]}}, {"filters": {"store_rejected": True}}):
        assert load(write(seed=1) if not changes else write({"seed": 1, **changes})).identity() != one


def test_a_split_may_be_left_out(write):
    assert load(write(split={"train": 0.9, "val": 0.1, "test": 0})).splits == {"train": 0.9, "val": 0.1}


def test_every_configuration_that_comes_along_is_right():
    found = sorted((ROOT / "configs").glob("*.yaml"))
    assert found
    for path in found:
        load(str(path))


def test_a_wrong_configuration_is_told_before_ray_is_imported(write):
    code = "import sys; from pipeline.cli import main; code = main(sys.argv[1:]); assert 'ray' not in sys.modules; sys.exit(code)"
    done = subprocess.run([sys.executable, "-c", code, "build", write(sead=1)], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and "sead" in done.stderr, done.stderr


@pytest.mark.parametrize("source", [{"kind": "folder", "path": "nowhere/"}, {"kind": "manifest", "path": "nowhere.csv"},
                                    {"kind": "manifest", "path": "config.yaml"}, {"kind": "manifest", "path": "nosuch://bucket/x.csv"}])
def test_a_source_that_is_not_there(write, refusal, source):
    said = refusal(write(sources=[source]))
    assert source["path"].rstrip("/") in said


@pytest.mark.parametrize(("allow", "edits", "said"), [
    ("cc-bt-4.0", {"add": 1}, "licenses.allow: unknown licence 'cc-bt-4.0'; did you mean 'cc-by-4.0'?"),
    ("cc0-1.0", {"add": 1}, "edit 'add' needs sounds of 2 labels, the sources under licenses.allow name 0"),
    ("cc0-1.0", {"transfer": 1}, "edit 'transfer' needs sounds of 2 labels, the sources under licenses.allow name 0"),
    ("cc0-1.0", {"speech_delete": 1}, "edit 'speech_delete' needs speech under licenses.allow: "),
])
def test_a_licence_that_is_misspelt_or_leaves_nothing(write, refusal, allow, edits, said):
    assert refusal(write(licenses={"allow": [allow]}, edits=edits)).startswith(f"audioedit: {said}")


def test_load_raises_request_errors_only(write):
    with pytest.raises(RequestError, match="seed"):
        load(write(seed="x"))


TALK = {"kind": "folder", "path": "talks", "domain": "speech", "conversation": True}


@pytest.mark.parametrize(("source", "diarizer"), [
    (TALK, None), ({**TALK, "domain": "sound"}, {"engine": "any"}), ({**TALK, "domain": "music"}, {"engine": "any"}),
    ({**TALK, "separate": True}, {"engine": "any"}), ({**TALK, "kind": "manifest", "path": "talks.csv"}, None)])
def test_conversations_are_speech_and_need_a_diarizer(write, refusal, source, diarizer):
    path = write(sources=[*GOOD["sources"], source], diarizer=diarizer)
    assert refusal(path).startswith(f"audioedit: {path}: sources.1: conversation: true is for domain: speech without separate, and needs a diarizer")


def test_conversations_with_a_diarizer_are_right_and_without_any_none_is_needed(write):
    assert load(write(sources=[TALK], diarizer={"engine": "any"})).sources[0].conversation
    assert load(write(sources=[{**TALK, "conversation": False}])).diarizer is None


@pytest.mark.parametrize(("key", "value", "right"), [
    ("speaker_overlap", -0.1, "from 0 to 1"), ("speaker_overlap", 1.1, "from 0 to 1"), ("speaker_overlap", float("nan"), "from 0 to 1"),
    ("speaker_seconds", "long", "number"), ("stem_lu", 0, "more than 0"), ("stem_lu", float("nan"), "more than 0"), ("clap_label", "high", "number")])
def test_a_wrong_gate_is_told(write, refusal, key, value, right):
    said = refusal(write(clips={key: value}))
    assert key in said and right in said


def test_engines_are_those_that_are_named(write):
    always = {"separator": "hpss", "transcriber": "pocketsphinx", "synthesizer": "espeak"}
    assert {kind: engine.engine for kind, engine in load(write()).engines.items()} == {**always, "recognizer": "pocketsphinx"}
    config = load(write(scorers={"clap": {"engine": "a"}, "asr": None}, diarizer={"engine": "b"}, labeler={"engine": "c"}, separator={"engine": "d"}))
    assert {kind: engine.engine for kind, engine in config.engines.items()} == {**always, "scorer": "a", "diarizer": "b", "labeler": "c", "separator": "d"}


def test_paths_among_an_engines_options_are_relative_to_the_configuration(write, tmp_path, monkeypatch):
    monkeypatch.chdir("/")
    monkeypatch.setenv("HOME", "/home/someone")
    options = {"engine": "any", "here": "./models/x.pt", "above": "../y", "home": "~/z", "abs": "/abs/../q", "name": "models/x", "dots": ".../w",
               "hidden": ".env", "uri": "s3://bucket/./x", "count": 3, "none": None, "deep": {"er": "./deeper", "flag": True}}
    kinds = {"separator": options, "transcriber": options, "diarizer": options, "labeler": options, "synthesizer": options,
             "scorers": {"clap": options, "asr": options}}
    right = {**options, "here": str(tmp_path / "models/x.pt"), "above": str(tmp_path.parent / "y"), "home": "/home/someone/z",
             "deep": {"er": str(tmp_path / "deeper"), "flag": True}}
    found = load(write(kinds)).engines
    assert len(found) == 7 and all(engine.model_dump() == right for engine in found.values())


@pytest.mark.parametrize("changes", [{"diarizer": {"engine": "any"}}, {"labeler": {"engine": "any"}}, {"separator": {"engine": "hpss", "x": 1}},
                                     {"scorers": {"clap": {"engine": "any"}}}, {"scorers": {"asr": None}}, {"clips": {"speaker_overlap": 0.1}}])
def test_another_engine_or_gate_is_another_run(write, changes):
    assert load(write(changes)).identity() != load(write()).identity()
