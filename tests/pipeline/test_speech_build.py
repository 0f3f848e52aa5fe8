"""Speech and separated recordings through a whole build, and what verify finds of them when they were tampered with."""

import json
import pathlib
import shutil
import tarfile

import numpy as np
import pandas as pd
import pytest
import soundfile
import yaml
from recordings import RATE, make_sounds
from tampering import audio, change, swapped

from manifests.audio import decode_flac, encode_flac
from manifests.speech import words_of
from pipeline.verify import verify
from stages.engines.espeak import Espeak

SPEECH = ("speech_delete", "speech_insert", "speech_substitute")
SENTENCES = (
    "When the rain stopped, the farmer walked home.", "My uncle bought seven apples, and a coat.", "We waited near the bridge, and slept.",
    "She opened the window, and looked outside.", "At noon, nobody answered the telephone.", "Last week, they went to London.",
    "The children played in the garden, after lunch.", "His sister painted the door, and the table.", "Please bring a chair, my friend.",
    "The bottle, of course, was green.",
)


def make_songs(folder: pathlib.Path, count: int = 9, seconds: float = 4.0) -> pathlib.Path:
    """Clicks over held chords, and a manifest that says to take them apart."""
    time = np.arange(round(seconds * RATE)) / RATE
    folder.mkdir()
    for n in range(count):
        chance = np.random.default_rng(n)
        root = 110 * 2 ** (n / 12)
        song = sum(0.05 * np.sin(2 * np.pi * root * ratio * time) for ratio in (1, 1.25, 1.5, 2, 3))
        for onset in np.arange(0.1, seconds - 0.1, 0.3 + 0.02 * n):
            first = round(onset * RATE)
            click = chance.standard_normal(240) * np.exp(-np.arange(240) / 40)
            song[first : first + 240] += 0.5 * click
        soundfile.write(folder / f"{n}.wav", song, RATE)
    manifest = folder / "songs.csv"
    manifest.write_text("path,license\n" + "".join(f"{n}.wav,cc-by-4.0\n" for n in range(count)))
    return manifest


def make_talks(folder: pathlib.Path, voice: str = "en-us+adam") -> pathlib.Path:
    """One voice's recordings, and a manifest with what is said."""
    folder.mkdir()
    rows, made = [], Espeak()
    for n, text in enumerate(SENTENCES):
        speech, _ = made.speak(text, voice, RATE)
        soundfile.write(folder / f"{n}.wav", speech.T + 1e-4 * np.random.default_rng(n).standard_normal((speech.shape[1], 1)), RATE)
        rows.append({"path": f"{n}.wav", "transcript": text, "speaker": "anna", "language": "en"})
    manifest = folder / "talks.jsonl"
    manifest.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return manifest


def configuration(folder: pathlib.Path, **changes) -> str:
    grounds = folder / "grounds"
    if not grounds.exists():
        make_sounds(grounds, labels=0, backgrounds=6)
        make_songs(folder / "songs")
    settings = {
        "seed": 5, "audio": {"sample_rate": RATE, "seconds": 3.0}, "split": {"train": 0.6, "val": 0.2, "test": 0.2}, "shards": {"pairs": 16},
        "sources": [{"kind": "espeak", "utterances": 24}, {"kind": "folder", "path": str(grounds), "label": "parent"},
                    {"kind": "manifest", "path": str(folder / "songs" / "songs.csv"), "domain": "music", "separate": True}],
        "edits": {"add": 6, "remove": 6, "extract": 6, **dict.fromkeys(SPEECH, 12)},
        "filters": {"rules": [{"score": "join_level_db", "max": -20.0}, {"score": "asr_choice", "equals": "target"}]},
        **changes,
    }
    name = folder / f"config-{len(list(folder.glob('*.yaml')))}.yaml"
    name.write_text(yaml.safe_dump(settings))
    return str(name)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> pathlib.Path:
    return tmp_path_factory.mktemp("speech")


@pytest.fixture(scope="module")
def made(folder, audioedit_here, ray_head) -> pathlib.Path:
    """A finished run; not to be changed."""
    done = audioedit_here("build", configuration(folder), "-o", folder / "run", "--ray", ray_head)
    assert done.returncode == 0, done.stderr
    return folder / "run"


@pytest.fixture
def run(made, tmp_path) -> pathlib.Path:
    return pathlib.Path(shutil.copytree(made, tmp_path / "run"))


@pytest.fixture(scope="module")
def rows(made) -> pd.DataFrame:
    return pd.read_parquet(made / "quality" / "pairs.parquet")


@pytest.fixture(scope="module")
def samples(made) -> dict[str, dict]:
    """Each pair's json and both sides, by its id."""
    found: dict[str, dict] = {}
    for path in (made / "shards").glob("*.tar"):
        with tarfile.open(path) as tar:
            for member in tar:
                pair, _, kind = member.name.partition(".")
                data = tar.extractfile(member).read()
                found.setdefault(pair, {})[kind] = json.loads(data) if kind == "json" else decode_flac(data, dtype="int16")
    return found


def shards(run: pathlib.Path) -> list:
    return [(s["name"], s["sha256"], s["pairs"]) for s in json.loads((run / "shards" / "index.json").read_text())]


def test_every_edit_is_made_and_verified(made, rows, audioedit_here):
    kept = rows[rows["kept"]].groupby("edit").size()
    assert rows.groupby("edit").size().to_dict() == {"add": 6, "remove": 6, "extract": 6, **dict.fromkeys(SPEECH, 12)}
    assert set(kept.index) == {"add", "remove", "extract", *SPEECH} and kept[list(SPEECH)].min() >= 3
    checked = audioedit_here("verify", made, "--pairs", "1000")
    assert checked.returncode == 0, checked.stdout


def test_what_a_row_says_of_speech_and_of_recordings(rows):
    speech, real = rows[rows["edit"].isin(SPEECH)], rows[~rows["edit"].isin(SPEECH)]
    assert (speech.loc[speech["kept"], "asr_choice"] == "target").all() and speech["asr_choice"].notna().all()
    for score in ("join_level_db", "wer_source", "wer_target", "chars_per_second", "source_lufs", "target_lufs"):
        assert speech[score].notna().all() and np.isfinite(speech[score]).all(), score
    assert (speech["floor_step_db"].notna() == (speech["edit"] == "speech_substitute")).all()
    assert (speech[["tier", "branch", "domain", "language"]] == ["demo", "synthetic", "speech", "en"]).all(axis=None)
    assert (speech.loc[speech["kept"], "join_level_db"] <= -20).all() and (speech["transcribed_by"] == "").all()
    assert set(real["branch"]) == {"real"} and set(real["tier"]) == {"demo"} and real["asr_choice"].isna().all() and real["join_level_db"].isna().all()
    assert real["separation_error_db"].notna().all() and (rows["leak_db"].notna() == (rows["edit"] == "extract")).all()
    assert (rows.loc[rows["edit"] == "extract", "leak_db"] <= -20).all()


KEYS = set("id scene_id edit branch tier domain language instruction instructions label noop split sample_rate duration source_text target_text edit_start "
           "edit_end edit_spans n_events clips gain_db params scores".split())


def test_texts_of_a_speech_pair_differ_by_the_words_of_its_label(samples):
    checked = set()
    for sample in samples.values():
        said = sample["json"]
        assert set(said) == KEYS and None not in said.values()
        if said["edit"] not in SPEECH:
            continue
        checked.add(said["edit"])
        source, target, label = (words_of(said[name]) for name in ("source_text", "target_text", "label"))
        shorter, longer = (target, source) if said["edit"] == "speech_delete" else (source, target)
        if said["edit"] == "speech_substitute":
            ways = [source[:n] + source[n + len(label) :] for n in range(len(source)) if source[n : n + len(label)] == label]
            assert source != target and any(_lies_in(rest, target) for rest in ways)
        else:
            assert label and shorter in [longer[:n] + longer[n + len(label) :] for n in range(len(longer)) if longer[n : n + len(label)] == label]
        assert f"'{said['label']}'" in said["instruction"]
        assert " ".join(source) == said["source_text"] and " ".join(target) == said["target_text"]
    assert checked == set(SPEECH)


def _lies_in(rest: list[str], text: list[str]) -> bool:
    """Whether a text is the rest with words put in at one place."""
    return any(text[:n] == rest[:n] and text[len(text) - len(rest) + n :] == rest[n:] for n in range(len(rest) + 1)) and len(text) > len(rest)


def test_sides_of_a_speech_pair_are_the_same_samples_outside_of_its_span(samples):
    for sample in samples.values():
        said = sample["json"]
        source, target, span = sample["source.flac"], sample["target.flac"], json.loads(said["params"]).get("source_span")
        if said["edit"] not in SPEECH:
            assert source.shape == target.shape == (1, 3 * RATE)
            continue
        (start, end), (first, last) = ([round(at * RATE) for at in one] for one in (span, said["edit_spans"][0]))
        assert np.array_equal(source[:, :start], target[:, :first]) and np.array_equal(source[:, end:], target[:, last:])
        assert target.shape[1] == round(said["duration"] * RATE) and (source.shape[1] > target.shape[1]) == (said["edit"] == "speech_delete") or (
            said["edit"] == "speech_substitute")


def test_a_remix_gives_the_background_back(samples, made):
    clips = pd.read_parquet(made / "clips" / "clips.parquet").set_index("clip_id")
    remixes = [sample for sample in samples.values() if json.loads(sample["json"]["params"])["kind"] == "remix"]
    assert remixes and all(sample["json"]["edit"] == "remove" for sample in remixes)
    for sample in remixes:
        ground = json.loads(sample["json"]["params"])["stems"][0]
        clip = clips.loc[ground["clip_id"]]
        with tarfile.open(made / clip["tar"]) as tar:
            whole = decode_flac(tar.extractfile(f"{ground['clip_id']}.flac").read())
        found = sample["target.flac"][0].astype(float) / 32768
        stretch = whole[0, ground["offset"] : ground["offset"] + len(found)].astype(float)
        gain = (found @ stretch) / (stretch @ stretch)
        assert np.abs(found - gain * stretch).max() <= 1 / 32768


def altered(files):
    """One sample of the target, before the edit begins."""
    said, target = json.loads(files["json"]), audio(files["target.flac"])
    target[0, max(0, round(said["edit_spans"][0][0] * RATE) - 10)] += 3
    return {**files, "target.flac": encode_flac(target, RATE)}


def source_shifted(files):
    return {**files, "source.flac": encode_flac(np.roll(audio(files["source.flac"]), 7, axis=1), RATE)}


def elsewhere(files):
    told = json.loads(files["json"])
    recipe = json.loads(told["params"])
    recipe["source_span"][0] += 0.01
    return {**files, "json": json.dumps({**told, "params": json.dumps(recipe)}).encode()}


@pytest.mark.parametrize("planted", [
    {"speech_delete": (altered, "target differs from its params in 1 samples"), "speech_insert": (swapped, "source and target are swapped"),
     "speech_substitute": (source_shifted, "source is shifted by 7 samples against its params")},
    {"speech_delete": (swapped, "source and target are swapped"), "speech_insert": (source_shifted, "source is shifted by 7 samples against its params"),
     "speech_substitute": (elsewhere, "its source_span is not where its pieces join")},
])
def test_speech_that_was_tampered_with_is_found(run, planted):
    pairs = {change(run, how, edit): told for edit, (how, told) in planted.items()}
    faults = verify(str(run), 1000)
    for pair, told in pairs.items():
        assert any(fault.startswith(f"pair {pair}: ") and told in fault for fault in faults), faults
    assert len(faults) == len(pairs), faults


def test_the_same_bytes_again_with_one_worker_and_each_stage_on_its_own(made, folder, audioedit_here, tmp_path, ray_head):
    alone = {stage: {"cpus": 2} for stage in ("ingest", "render", "shard")} | {"separate": {"cpus": 1.5}, "transcribe": {"cpus": 2}, "score": {"cpus": 1.5}}
    done = audioedit_here("build", configuration(folder, resources=alone), "-o", tmp_path / "again", "--ray", ray_head)
    assert done.returncode == 0, done.stderr
    assert shards(tmp_path / "again") == shards(made)


def test_a_corpus_of_one_voice_has_every_split(folder, audioedit_here, tmp_path, ray_head):
    talks = make_talks(tmp_path / "talks")
    config = configuration(folder, sources=[{"kind": "manifest", "path": str(talks), "domain": "speech"}], edits={"speech_delete": 6, "speech_substitute": 6},
                           scorers={"asr": None}, clips={"alignment_confidence": 0.0})
    done = audioedit_here("build", config, "-o", tmp_path / "run", "--ray", ray_head)
    assert done.returncode == 0, done.stderr
    clips, rows = (pd.read_parquet(tmp_path / "run" / name) for name in ("clips/clips.parquet", "quality/pairs.parquet"))
    assert clips["split"].value_counts().to_dict() == {"train": 6, "val": 2, "test": 2}
    assert set(rows.loc[rows["kept"], "split"]) == {"train", "val", "test"}
    assert (rows[["tier", "branch"]] == ["synthetic", "real"]).all(axis=None) and rows["alignment_confidence"].notna().all() and rows["asr_choice"].isna().all()
    assert audioedit_here("verify", tmp_path / "run").returncode == 0
