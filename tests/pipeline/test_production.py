"""configs/production.yaml over recordings, with tiny checkpoints of every engine: from recordings to shards, every quality column filled."""

import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import soundfile
import yaml
from checkpoints import (
    LINKED,
    configure_diarization,
    make_aligner,
    make_clap,
    make_demucs_by_channel,
    make_diarization_networks,
    make_whisper,
    save_demucs,
)
from recordings import RATE, make_sounds

from pipeline.verify import verify
from stages.engines.espeak import Espeak

ROOT = pathlib.Path(__file__).parents[2]
SENTENCES = (
    "When the rain stopped, the farmer walked home.", "My uncle bought seven apples, and a coat.", "We waited near the bridge, and slept.",
    "She opened the window, and looked outside.", "At noon, nobody answered the telephone.", "Last week, they went to London.",
    "The children played in the garden, after lunch.", "His sister painted the door, and the table.", "Please bring a chair, my friend.",
)


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory) -> dict[str, str]:
    """The --set of each engine with a local checkpoint."""
    folder = tmp_path_factory.mktemp("checkpoints")
    (folder / "demucs").mkdir()
    save_demucs(folder / "demucs", "tiny", make_demucs_by_channel())
    clap = {"engine": "laion_clap", "device": "cpu", **make_clap(folder / "clap")}
    whisper = {"engine": "whisperx", "model": make_whisper(folder / "whisper"), "compute_type": "default", "device": "cpu",
               "align": {"en": make_aligner(folder / "aligner", "ABCDEFGHIJKLMNOPQRSTUVWXYZ'")}, "language": "en"}
    make_diarization_networks(folder)
    import whisperx

    trained = str(pathlib.Path(whisperx.__file__).parent / "assets" / "pytorch_model.bin")
    diarization = configure_diarization(folder / "config.yaml", "AgglomerativeClustering", LINKED, {"threshold": 0.5}, segmentation=trained)
    engines = {"separator": {"engine": "demucs", "model": "tiny", "repo": str(folder / "demucs"), "device": "cpu"}, "transcriber": whisper,
               "diarizer": {"engine": "pyannote", "pipeline": diarization, "device": "cpu"},
               "labeler": {"engine": "clap", "floor": -1.0, "margin": 0.0}, "scorers": {"clap": clap, "asr": whisper}}
    return {name: json.dumps(engine) for name, engine in engines.items()}


@pytest.fixture(scope="module")
def sources(tmp_path_factory) -> str:
    """Made recordings of every kind that the configuration names: sounds with labels and without, songs, speech, people taking turns."""
    folder = tmp_path_factory.mktemp("recordings")
    make_sounds(folder / "sounds", each=3, backgrounds=6, seconds=12.0)
    make_sounds(folder / "field", labels=2, each=2, backgrounds=2, seconds=13.0)
    voices, made = ("en-us+david", "en-gb-scotland+f3"), Espeak()
    for name in ("songs", "speech", "meetings"):
        (folder / name).mkdir()
    for n in range(4):
        time = np.arange(11 * RATE) / RATE
        song = [0.2 * np.sin(2 * np.pi * pitch * 2 ** (n / 12) * time) * (np.sin(pace * time) > 0) for pitch, pace in ((660, 19), (110, 3))]
        soundfile.write(folder / "songs" / f"{n}.wav", np.stack(song, axis=1), RATE)  # drums left, bass right
        turns = [made.speak(SENTENCES[(n + k) % 9], voices[(n + k) % 2], RATE)[0][0] for k in range(3)]
        talk = np.concatenate([np.pad(turn, (RATE // 2, RATE // 2)) for turn in turns])[: 10 * RATE]
        soundfile.write(folder / "meetings" / f"{n}.wav", np.pad(talk, (0, 10 * RATE - len(talk))), RATE)
    rows = []
    for n, text in enumerate(SENTENCES):
        speech = made.speak(text, "en-us+adam", RATE)[0][0]
        soundfile.write(folder / "speech" / f"{n}.wav", speech + 1e-4 * np.random.default_rng(n).standard_normal(len(speech)), RATE)
        rows.append({"path": f"{n}.wav", "transcript": text if n else "", "speaker": "anna", "language": "en"})
    pd.DataFrame(rows).to_parquet(folder / "speech" / "speech.parquet")
    return json.dumps([
        {"kind": "folder", "path": str(folder / "sounds"), "label": "parent"}, {"kind": "folder", "path": str(folder / "field")},
        {"kind": "folder", "path": str(folder / "songs"), "domain": "music", "separate": True},
        {"kind": "manifest", "path": str(folder / "speech" / "speech.parquet"), "domain": "speech"},
        {"kind": "folder", "path": str(folder / "meetings"), "domain": "speech", "conversation": True}])


@pytest.fixture(scope="module")
def run(tmp_path_factory, checkpoints, sources) -> pathlib.Path:
    folder = tmp_path_factory.mktemp("production") / "run"
    wanted = yaml.safe_load((ROOT / "configs" / "production.yaml").read_text())["edits"]
    changes = {**checkpoints, "sources": sources, "resources": "{}", "audio": "{sample_rate: 16000, channels: 2, seconds: 10.0}",
               "edits": json.dumps(dict.fromkeys(wanted, 3)),
               "split": "{train: 1.0, val: 0, test: 0}", "clips.clap_label": "null", "clips.alignment_confidence": "0.0", "clips.join_db": "0.0",
               "clips.speaker_overlap": "1.0"}  # what random weights say decides nothing
    sets = [f"--set={key}={value}" for key, value in changes.items()]
    done = subprocess.run([sys.executable, "-m", "pipeline", "build", "configs/production.yaml", "-o", str(folder), *sets], cwd=ROOT, capture_output=True,
                          text=True, timeout=290, env={**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stderr
    return folder


def test_every_quality_column_is_filled(run):
    pairs = pd.read_parquet(run / "quality" / "pairs.parquet")
    assert {name for name in pairs if pairs[name].isna().all()} <= {"reason"}  # which stands where a rule is broken
    made = pairs[pairs["target_lufs"].notna()]
    assert set(made["edit"]) == set(yaml.safe_load((ROOT / "configs" / "production.yaml").read_text())["edits"])
    rules = {rule["score"] for rule in json.loads((run / "run.json").read_text())["configuration"]["filters"]["rules"]}
    assert {reason.split()[0] for reason in made["reason"].dropna()} <= rules and len(rules) > 8
    assert pairs["kept"].any() and verify(str(run), 20) == []
