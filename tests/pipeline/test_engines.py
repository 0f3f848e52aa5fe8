"""Engines in a whole build: oracles, brought as a user brings his own, show that what engines say reaches rows, reasons and shards."""

import json
import pathlib
import tarfile

import numpy as np
import pandas as pd
import pytest
import ray
import soundfile
import yaml
from recordings import RATE, make_sounds, tone

from manifests.errors import RequestError
from pipeline import run as running
from pipeline.engines import check, needed
from pipeline.read_config import load
from pipeline.sources import list_sources
from pipeline.verify import verify
from stages.score_clap import CLEAR

SPEAKERS = ("extract_speaker", "remove_speaker")
WHOLE = {"split": {"train": 1.0, "val": 0, "test": 0}}


def make_talks(folder: pathlib.Path, count: int = 9) -> None:
    """Two who hum in turns, with pauses; the last file has both at once."""
    folder.mkdir()
    for n in range(count):
        chance = np.random.default_rng(n)
        parts = [np.zeros(RATE // 5)]
        for turn in range(4):
            time = np.arange(round((0.5 + 0.1 * chance.random()) * RATE)) / RATE
            hums = (150, 330) if n == count - 1 and turn == 2 else ((150, 330)[(turn + n) % 2],)
            fade = np.minimum(1, np.minimum(time, time[::-1]) / 0.03)
            parts += [fade * sum(0.2 * np.sin(2 * np.pi * hum * time) for hum in hums), np.zeros(round(0.15 * RATE))]
        talk = np.concatenate(parts)[: 3 * RATE]
        talk = np.pad(talk, (0, 3 * RATE - len(talk))) + 1e-3 * chance.standard_normal(3 * RATE)
        soundfile.write(folder / f"{n}.wav", talk, RATE)


def make_songs(folder: pathlib.Path, count: int = 9) -> None:
    """A low tone and high noise."""
    folder.mkdir()
    for n in range(count):
        time = np.arange(4 * RATE) / RATE
        hiss = np.diff(0.1 * np.random.default_rng(n).standard_normal(4 * RATE + 1))
        soundfile.write(folder / f"{n}.wav", 0.1 * np.sin(2 * np.pi * (80 + n) * time) + hiss, RATE)


@pytest.fixture(scope="module")
def material(tmp_path_factory) -> pathlib.Path:
    """Sounds with labels, some of them wrong; sounds without; murmurs without; talks; songs."""
    folder = tmp_path_factory.mktemp("material")
    make_sounds(folder / "named")
    wrong = folder / "named" / "events" / "sound_0" / "wrong.wav"
    soundfile.write(wrong, np.pad(tone(0.8, 200 * 1.4**3, seed=7), RATE // 4), RATE)
    make_sounds(folder / "unnamed", each=2, backgrounds=0)
    for n in range(6):
        (folder / "murmurs").mkdir(exist_ok=True)
        noise = np.random.default_rng(n).standard_normal(5 * RATE) * 0.02
        soundfile.write(folder / "murmurs" / f"{n}.wav", np.convolve(noise, np.ones(300) / 17, mode="same"), RATE)
    make_talks(folder / "talks")
    make_songs(folder / "songs")
    return folder


@pytest.fixture(scope="module")
def few(tmp_path_factory) -> pathlib.Path:
    """A few sounds of three labels, two of each."""
    return make_sounds(tmp_path_factory.mktemp("few") / "sounds", labels=3, each=2, backgrounds=3)


def write(folder: pathlib.Path, material: pathlib.Path, **changes) -> str:
    settings = {
        "seed": 2, "audio": {"sample_rate": RATE, "seconds": 3.0}, "split": {"train": 0.6, "val": 0.2, "test": 0.2}, "shards": {"pairs": 16},
        "sources": [{"kind": "folder", "path": str(material / "named"), "label": "parent"}, {"kind": "folder", "path": str(material / "unnamed")},
                    {"kind": "folder", "path": str(material / "murmurs"), "role": "background"},
                    {"kind": "folder", "path": str(material / "talks"), "domain": "speech", "conversation": True},
                    {"kind": "folder", "path": str(material / "songs"), "domain": "music", "separate": True}],
        "edits": {"add": 12, "remove": 12, "extract": 12, "replace": 24, **dict.fromkeys(SPEAKERS, 6)},
        "separator": {"engine": "oracles:Separator", "leak_db": -26.0}, "diarizer": {"engine": "oracles:Diarizer"},
        "labeler": {"engine": "oracles:Labeler"}, "scorers": {"clap": {"engine": "oracles:Scorer"}, "asr": None}, "clips": {"clap_label": 0.3},
        **changes,
    }
    name = folder / f"config-{len(list(folder.glob('*.yaml')))}.yaml"
    name.write_text(yaml.safe_dump(settings))
    return str(name)


@pytest.fixture(scope="module")
def run(tmp_path_factory, material, audioedit) -> pathlib.Path:
    """A finished run with oracles for engines."""
    folder = tmp_path_factory.mktemp("oracles")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(pathlib.Path(__file__).parents[1]))
        done = audioedit("build", write(folder, material), "-o", str(folder / "run"))
    assert done.returncode == 0, done.stderr
    return folder / "run"


@pytest.fixture(scope="module")
def clips(run) -> pd.DataFrame:
    return pd.read_parquet(run / "clips" / "clips.parquet").merge(pd.read_parquet(run / "quality" / "clips.parquet")[["clip_id", "file"]], on="clip_id")


@pytest.fixture(scope="module")
def pairs(run) -> pd.DataFrame:
    return pd.read_parquet(run / "quality" / "pairs.parquet")


def test_what_was_built_is_as_recorded(run, pairs):
    assert verify(str(run), 40) == []
    assert set(pairs["edit"][pairs["kept"]]) == {"add", "remove", "extract", "replace", *SPEAKERS}  # by the default rules


def test_a_wrong_label_is_found_before_planning(run):
    clips = pd.read_parquet(run / "quality" / "clips.parquet")
    wrong = clips[clips["file"].str.endswith("wrong.wav")]
    assert wrong["reason"].str.startswith("it does not sound like 'sound 0': CLAP similarity 0.0").all() and len(wrong) == 1
    events = clips[(clips["role"] == "event") & (clips["status"] == "ok")]
    assert (events["clap_label"] >= 0.3).all() and len(events) > 20


def test_what_nobody_labelled_has_the_labelers_name_and_its_answer(clips):
    found = clips[clips["uri"].str.contains("/unnamed/")]
    truth = found["uri"].str.extract(r"sound_(\d)")[0]
    assert len(found) >= 8 and (found["label"] == "sound " + truth).all() and (found["caption"] == "a tone").all()
    told = [json.loads(text)["labeler"] for text in found["metadata"]]
    assert all(one == {"engine": "oracles:Labeler", "among": 8} for one in told)
    murmurs = clips[clips["uri"].str.contains("/murmurs/")]
    assert len(murmurs) and (murmurs["label"] == "").all()
    assert (murmurs["metadata"] == "").all()  # a background is not asked about


def test_every_edit_of_sounds_moved_toward_its_instruction(pairs):
    sounds = pairs[(pairs["domain"] == "sound") & pairs["source_lufs"].notna() & ~pairs["noop"]]
    assert pairs["clap_gain"][pairs["noop"]].isna().all()
    assert len(sounds) > 30 and sounds["clap_gain"].notna().all()
    assert (sounds["clap_gain"] > 0).mean() > 0.95
    extracts = sounds[sounds["edit"] == "extract"]
    assert (extracts["clap_target"] > extracts["clap_source"] - 0.2).all() and extracts["clap_target"].median() > 0.5
    assert pairs["clap_gain"][pairs["edit"].isin(SPEAKERS)].isna().all()


def test_only_backgrounds_without_a_label_are_listened_to(run, pairs, clips):
    unlabelled = set(clips["clip_id"][clips["uri"].str.contains("/murmurs/")])
    over = pairs["clip_ids"].map(lambda ids: bool(unlabelled & set(ids)))
    sounds = pairs["source_lufs"].notna() & (pairs["domain"] == "sound")
    with_ground = sounds & over
    assert with_ground.any() and (pairs["clap_background"][with_ground] < 0.25).all()
    assert pairs["clap_background"][sounds & ~over & (pairs["edit"] != "add")].isna().all()


def test_speakers_are_extracted_and_removed_by_order_of_appearance(run, pairs):
    found = pairs[pairs["edit"].isin(SPEAKERS)]
    assert set(found["label"]) == {"first speaker", "second speaker"} and (found["speaker_overlap"] == 0).all() and (found["branch"] == "real").all()
    assert (found["n_events"] == 2).all() and found["kept"].all()


def test_who_speaks_at_once_with_another_is_left_out(run):
    clips = pd.read_parquet(run / "quality" / "clips.parquet")
    assert clips["reason"][clips["file"].str.endswith("talks/8.wav")].str.contains("two speak at once").all()
    assert (clips["role"][clips["file"].str.contains("/talks/") & (clips["status"] == "ok")] == "conversation").all()


def test_a_separators_leak_is_measured_and_stems_that_are_clean_are_extracted(clips, pairs):
    stems = clips[(clips["role"] == "stem") & (clips["label"] != "")]
    assert set(stems["label"]) == {"bass", "cymbals"} and (stems["separation_error_db"] < -100).all() and (stems["tier"] == "real").all()
    assert stems["clap_label"].notna().all() and stems["leak_db"].between(-32, -15).all()
    real = pairs[(pairs["edit"] == "extract") & (pairs["domain"] == "music")]
    clean = set(stems["label"][stems["leak_db"] <= -20])
    assert clean == {"cymbals"} and set(real["label"]) == clean and (real["leak_db"] <= -20).all() and (real["branch"] == "real").all()


def test_another_runs_clips_are_conversations_still(run, material, audioedit_here, ray_head, tmp_path):
    config = write(tmp_path, material, edits=dict.fromkeys(SPEAKERS, 3))
    done = audioedit_here("build", config, "-o", tmp_path / "run", "--clips", run, "--ray", ray_head)
    assert done.returncode == 0, done.stderr
    again = pd.read_parquet(tmp_path / "run" / "quality" / "pairs.parquet")
    assert again["edit"].value_counts().to_dict() == dict.fromkeys(SPEAKERS, 3) and again["kept"].all()


@pytest.fixture(scope="module")
def unlabelled(tmp_path_factory, material, audioedit_here, ray_head) -> pathlib.Path:
    """A finished run whose sounds and backgrounds nobody labelled."""
    folder = tmp_path_factory.mktemp("unlabelled")
    sources = [{"kind": "folder", "path": str(material / "unnamed")}, {"kind": "folder", "path": str(material / "murmurs")},
               {"kind": "folder", "path": str(material / "songs"), "domain": "music", "separate": True}]
    config = write(folder, material, sources=sources, edits={"add": 6, "remove": 12}, separator={"engine": "oracles:Separator"}, diarizer=None,
                   filters={"rules": [{"score": "clap_gain", "min": 0.001}]}, **WHOLE)
    done = audioedit_here("build", config, "-o", folder / "run", "--ray", ray_head)
    assert done.returncode == 0, done.stderr
    return folder / "run"


def test_a_labeler_alone_names_all_that_an_edit_needs(unlabelled):
    pairs = pd.read_parquet(unlabelled / "quality" / "pairs.parquet")
    pairs = pairs[pairs["domain"] == "sound"]
    assert pairs["kept"].any() and pairs["label"].str.startswith("sound ").all() and (pairs["clap_background"] < 0.25).all()


def test_a_remix_says_whether_its_background_was_found_to_hold_nothing_like_its_stem(unlabelled):
    checked = {}
    for path in (unlabelled / "shards").glob("*.tar"):
        with tarfile.open(path) as tar:
            for said in (json.loads(tar.extractfile(name).read()) for name in tar.getnames() if name.endswith(".json")):
                recipe, heard = json.loads(said["params"]), json.loads(said["scores"])["clap_background"]
                if recipe["kind"] == "remix":
                    assert recipe["stems"][0]["label"] == "" and recipe["background_checked"] == (heard <= CLEAR)
                    checked[said["label"]] = recipe["background_checked"]
    assert checked == {"bass": False, "cymbals": True}  # murmurs are low


@pytest.mark.parametrize(("engine", "status", "told"), [
    ("NaN", 0, ""), ("Short", 1, "gave similarities of the shape"),
])
def test_similarities_that_are_none_are_null_or_told(few, audioedit_here, ray_head, tmp_path, engine, status, told):
    config = write(tmp_path, few.parent, sources=[{"kind": "folder", "path": str(few), "label": "parent"}], edits={"add": 3}, diarizer=None,
                   labeler=None, scorers={"clap": {"engine": f"oracles:{engine}"}, "asr": None}, **WHOLE)
    done = audioedit_here("build", config, "-o", tmp_path / "run", "--ray", ray_head)
    assert done.returncode == status and told in done.stderr, done.stderr
    if status == 0:
        pairs = pd.read_parquet(tmp_path / "run" / "quality" / "pairs.parquet")
        assert pairs["kept"].any() and pairs["clap_gain"].isna().all() and pairs["clap_target"].isna().all()


def test_memory_for_two_is_enough(material, audioedit_here, ray_head, tmp_path, pairs):
    config = write(tmp_path, material, scorers={"clap": {"engine": "oracles:Forgetful"}, "asr": None}, resources={"clap": {"cpus": 0.5, "actors": 1}})
    done = audioedit_here("build", config, "-o", tmp_path / "run", "--ray", ray_head)
    assert done.returncode == 0, done.stderr
    again = pd.read_parquet(tmp_path / "run" / "quality" / "pairs.parquet")
    same = pairs.drop(columns=["pair_id", "seconds_render", "seconds_score"]).equals(again.drop(columns=["pair_id", "seconds_render", "seconds_score"]))
    assert same  # neither the batch nor who holds the engine changes a score


def test_an_engine_that_dies_of_an_item_costs_that_item(few, audioedit_here, ray_head, tmp_path):
    config = write(tmp_path, few.parent, scorers={"clap": {"engine": "oracles:Killer"}, "asr": None}, resources={"clap": {"cpus": 0.5, "actors": 1}},
                   sources=[{"kind": "folder", "path": str(few), "label": "parent"}], edits={"add": 4}, diarizer=None, labeler=None, missing="skip", **WHOLE)
    done = audioedit_here("build", config, "-o", tmp_path / "run", "--ray", ray_head)
    assert done.returncode == 0, done.stderr
    clips = pd.read_parquet(tmp_path / "run" / "quality" / "clips.parquet")
    died = clips[clips["reason"].fillna("").str.contains("its process died each time")]
    assert len(died) and died["file"].str.contains("sound_2").all() and len(died) == clips["file"].str.contains("/sound_2/").sum()


def test_what_cannot_be_loaded_is_told_before_any_work(material, audioedit_here, ray_head, tmp_path):
    config = write(tmp_path, material, scorers={"clap": {"engine": "oracles:Nobody"}})
    done = audioedit_here("build", config, "-o", tmp_path / "run", "--ray", ray_head)
    assert done.returncode == 2 and "scorer: engine 'oracles:Nobody' cannot be loaded" in done.stderr, done.stderr
    assert len(done.stderr.strip().splitlines()) == 1 and not (tmp_path / "run" / "clips").exists()


def test_each_engine_is_loaded_by_the_check_before_work(material, ray_head, tmp_path):
    talks = {"sources": [{"kind": "folder", "path": str(material / "talks"), "domain": "speech"}], "edits": {"speech_delete": 1}}
    running.connect(ray_head)
    try:
        for changes, told in [
            ({"separator": {"engine": "oracles:Separator", "leak": 3}}, "separator: engine 'oracles:Separator' does not take these options"),
            ({"separator": {"engine": "demucs", "repo": "./nowhere"}}, "nowhere"),
            ({"scorers": {"clap": {"engine": "laion_clap", "checkpoint": "./nowhere.pt"}}}, "nowhere.pt"),
            ({"transcriber": {"engine": "whisperx", "model": "./nowhere"}, **talks}, "nowhere"),
            ({"diarizer": {"engine": "pyannote", "pipeline": "./nowhere"}}, "nowhere"),
        ]:
            config = load(write(tmp_path, material, **changes))
            with pytest.raises(RequestError, match=told) as refused:
                check(needed(config, list_sources(config), False))
            assert "\n" not in str(refused.value)
    finally:
        ray.shutdown()
