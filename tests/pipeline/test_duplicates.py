"""What sounds the same stands on one side of the split, and what exclude names never enters: by name, by samples, by sound."""

import json
import os

import numpy as np
import pandas as pd
import pytest
import soundfile
import yaml
from recordings import RATE, configuration, make_sounds, tone

from manifests.clip import EXCLUDED, Clip
from pipeline.build import tell_unheard
from pipeline.cli import main
from pipeline.duplicates import settle_duplicates
from pipeline.read_config import load
from pipeline.sources import list_sources
from stages.engines import espeak
from stages.fingerprint import fingerprint
from stages.ingest import Gates, ingest

GONE = {"by name": "events/sound_0/0.wav", "by samples": "events/sound_1/1.wav", "by sound": "events/sound_2/2.wav",
        "a part of it": "backgrounds/noise_0/0.wav"}


def rattle(seed: int) -> np.ndarray:
    """A dozen short notes at pitches of their own, 1.2 s: (samples,)."""
    chance = np.random.default_rng(seed)
    return np.concatenate([tone(0.1, pitch, seed) for pitch in chance.uniform(200, 2500, 12)])


def changed(audio: np.ndarray) -> np.ndarray:
    """Quieter, and cut at both ends."""
    return 0.4 * audio[len(audio) // 15 + 13 : -len(audio) // 12]


@pytest.fixture(scope="module")
def run(tmp_path_factory, audioedit_here, ray_head):
    """A run over sounds, of which some have a twin in MP3, and whose exclude names some of them in one way or another."""
    folder = tmp_path_factory.mktemp("exclude")
    sounds = make_sounds(folder / "sounds")
    for seed, place in enumerate(sorted((sounds / "events").rglob("*.wav"))):
        soundfile.write(place, np.concatenate([np.zeros(RATE // 4), rattle(seed), np.zeros(RATE // 4)]), RATE)
    (folder / "tests" / "deep").mkdir(parents=True)
    for way, name in GONE.items():
        audio, _ = soundfile.read(sounds / name)
        if way == "by samples":
            soundfile.write(folder / "tests/deep/other name.flac", audio, RATE, subtype="PCM_16")
        elif way != "by name":
            soundfile.write(folder / f"tests/{way}.mp3", changed(audio), RATE, format="MP3")
    (folder / "exclude.csv").write_text(f"path,start,end\nsounds/{GONE['by name']},0,0.5\nsounds/nowhere.wav,,\n")
    for label in range(5):
        audio, _ = soundfile.read(sounds / f"events/sound_{label}/5.wav")
        soundfile.write(sounds / f"events/sound_{label}/twin.mp3", changed(audio), RATE, format="MP3")
    exclude = [{"kind": "folder", "path": "tests"}, {"kind": "manifest", "path": "exclude.csv"}]
    config = folder / "config.yaml"
    config.write_text(yaml.safe_dump(configuration(sounds, exclude=exclude)))
    done = audioedit_here("build", config, "-o", folder / "run", "--ray", ray_head)
    assert done.returncode == 0, done.stderr
    assert f"exclude: 1 of its 4 files cannot be listened to ({sounds}/nowhere.wav: no such file)" in done.stderr
    return folder


def test_what_exclude_names_never_enters(run):
    clips = pd.read_parquet(run / "run/clips/clips.parquet")
    used = {clip["uri"] for split in ("train", "val", "test") for clip in _clips_of(run / "run", split)}
    for way, name in GONE.items():
        assert str(run / "sounds" / name) not in set(clips["uri"]) | used, way
    assert EXCLUDED not in set(clips["role"]) and not clips["uri"].str.contains("/tests/").any()
    assert len(clips) == 5 * 7 + 9 - len(GONE)


def test_each_has_a_reason_that_says_so(run):
    rows = pd.read_parquet(run / "run/quality/sources.parquet").set_index("uri")["reason"]
    for way, name in GONE.items():
        assert rows[str(run / "sounds" / name)].startswith("exclude names it" if way == "by name" else f"exclude names it: the same sound as {run}/tests/"), way
    assert rows[str(run / "tests/deep/other name.flac")] == rows[str(run / "tests/by sound.mp3")] == "exclude names it"
    assert rows[str(run / "sounds/nowhere.wav")] == "no such file"


def test_rows_of_exclude_with_a_fault_are_told_since_what_sounds_like_them_is_not_found(run, tmp_path, capsys):
    (tmp_path / "odd.csv").write_text(f"path,role\n{run}/tests/by sound.mp3,probe\n{run}/tests/a part of it.mp3,\n")
    exclude = [{"kind": "manifest", "path": str(tmp_path / "odd.csv")}]
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(configuration(run / "sounds", exclude=exclude)))
    config = load(str(tmp_path / "config.yaml"), [])
    tell_unheard(config, list_sources(config))
    assert f"exclude: 1 of its 2 files cannot be listened to ({run}/tests/by sound.mp3: role 'probe' is none of" in capsys.readouterr().err


def test_what_sounds_the_same_stands_on_one_side(run):
    clips = pd.read_parquet(run / "run/clips/clips.parquet")
    names = clips["uri"].str.removeprefix(f"{run}/sounds/")
    for label in range(5):
        twins = clips[names.isin((f"events/sound_{label}/5.wav", f"events/sound_{label}/twin.mp3"))]
        assert len(twins) == 2 and twins["unit"].nunique() == twins["split"].nunique() == 1
    assert clips["unit"].nunique() >= 0.8 * len(clips)  # nearly all others stand for themselves


def test_the_run_holds_to_it(run, capsys):
    assert main(["verify", str(run / "run")]) == 0


def test_a_run_whose_clips_are_taken_was_held_against_the_same_exclude(run, capsys):
    config = yaml.safe_load((run / "config.yaml").read_text())
    (run / "more.yaml").write_text(yaml.safe_dump({**config, "exclude": config["exclude"][:1]}))
    assert main(["build", str(run / "more.yaml"), "-o", str(run / "other"), "--clips", str(run / "run")]) == 2
    assert "the same exclude" in capsys.readouterr().err
    (run / "taken").mkdir()
    (run / "taken/run.json").write_text(json.dumps({**json.loads((run / "run/run.json").read_text()), "clips_of": "elsewhere"}))
    assert main(["build", str(run / "config.yaml"), "-o", str(run / "other"), "--clips", str(run / "taken")]) == 2
    assert "its clips are those of elsewhere, which was held against what exclude names; give that run" in capsys.readouterr().err
    soundfile.write(run / "tests/one more.wav", rattle(99), RATE)  # the folder of the same name holds more now
    try:
        assert main(["build", str(run / "config.yaml"), "-o", str(run / "other"), "--clips", str(run / "run")]) == 2
        assert f"not held against 1 recordings that exclude names now, e.g. {run}/tests/one more.wav" in capsys.readouterr().err
    finally:
        (run / "tests/one more.wav").unlink()


def test_what_empties_a_pool_is_told_with_what_emptied_it(run, tmp_path, audioedit_here, ray_head):
    def build(exclude: list[dict], out: str) -> tuple[int, str]:
        (tmp_path / f"{out}.yaml").write_text(yaml.safe_dump(configuration(run / "sounds", exclude=exclude)))
        done = audioedit_here("build", tmp_path / f"{out}.yaml", "-o", tmp_path / out, "--ray", ray_head)
        return done.returncode, done.stderr.strip().splitlines()[-1]

    code, line = build([{"kind": "folder", "path": str(run / "sounds/backgrounds")}, {"kind": "folder", "path": str(run / "sounds/events")}], "all")
    assert code == 2 and "under exclude" in line and "'add'" in line
    os.makedirs(tmp_path / "copies")
    for place in (run / "sounds/backgrounds").rglob("*.wav"):  # under other names: only listening shows it
        os.link(place, tmp_path / "copies" / f"{place.parent.name}-{place.name}")
    code, line = build([{"kind": "folder", "path": str(tmp_path / "copies")}], "sounds")
    assert code == 1 and "under exclude holds 0 backgrounds" in line


def test_exclude_is_checked_as_sources_are(run, tmp_path, capsys):
    for exclude, word in (([{"kind": "folder", "path": "nowhere"}], "no such folder"), ([{"kind": "manifest", "path": "no.csv"}], "cannot be read (exclude"),
                          ([{"kind": "espeak"}], "exclude"), ([{"kind": "folder", "pth": "x"}], "did you mean 'path'")):
        (tmp_path / "config.yaml").write_text(yaml.safe_dump(configuration(run / "sounds", exclude=exclude)))
        assert main(["build", str(tmp_path / "config.yaml"), "-o", str(tmp_path / "run")]) == 2
        assert word in capsys.readouterr().err


def test_what_exclude_names_decides_what_run_it_is(run, tmp_path):
    one = list_sources(load(str(run / "config.yaml"))).digest
    soundfile.write(run / "tests/one more.wav", np.zeros(RATE), RATE)
    assert list_sources(load(str(run / "config.yaml"))).digest != one
    (run / "tests/one more.wav").unlink()


def test_pieces_of_one_recording_go_together_and_what_is_like_two_ties_them():
    said = espeak.play(espeak.utterance(7, 1, source=0), RATE, espeak.Espeak())[1]
    other = espeak.play(espeak.utterance(7, 2, source=0), RATE, espeak.Espeak())[1]
    both = np.concatenate([said, other], axis=1)

    def clip(uri: str, audio: np.ndarray | None, number: int, role: str = "event") -> dict:
        text = "" if audio is None else fingerprint(audio, RATE)
        return Clip(uri, 0, 1, 0, "sound", "synthetic", clip_id=f"{number:016x}", fingerprint=text, role=role).__dict__

    rows = [clip("a", said, 1), clip("b", other, 2), clip("c", None, 3), clip("d", both, 4), clip("a", None, 5)]
    tied = pd.DataFrame(rows)
    settle_duplicates(tied)
    assert tied["unit"].tolist() == [f"{1:016x}", f"{1:016x}", "", f"{1:016x}", ""] and tied["reason"].isna().all()
    held = pd.DataFrame([*rows, clip("x", said[:, RATE // 9 :], 9, EXCLUDED) | {"reason": "exclude names it"}])
    settle_duplicates(held)
    meant = "exclude names it: the same sound as x"
    assert held["reason"].fillna("").tolist() == [meant, "", "", meant, meant, "exclude names it"]  # of a the other clip too; b is another sentence
    assert held["unit"].tolist() == [""] * 6


def test_an_excluded_window_is_only_listened_to(run):
    path = str(run / "sounds/events/sound_3/3.wav")
    window = Clip(path, 0.0, 1.5, 0, "sound", "synthetic", label="bell")
    ((clip, audio),) = ingest(window, RATE, 1, 3.0, Gates())
    ((known, nothing),) = ingest(Clip(path, 0.0, 1.5, 1, "sound", "synthetic", role=EXCLUDED), RATE, 1, 3.0, Gates())
    assert clip.fingerprint and known.fingerprint and nothing.shape == (1, 0) and known.reason == "exclude names it" and known.role == EXCLUDED


def _clips_of(run, split: str) -> list[dict]:
    import webdataset

    shards = [str(path) for path in sorted((run / "shards").glob(f"{split}-*.tar"))]
    return [clip for shard in shards for sample in webdataset.WebDataset(shard, shardshuffle=False) for clip in json.loads(sample["json"])["clips"]]
