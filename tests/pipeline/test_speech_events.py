"""What is said is edited word by word, and stands in soundscapes as a sound among others, where a label says what it is; half of the transfers are alone."""

import json

import numpy as np
import pandas as pd
import pytest
import soundfile
import webdataset
import yaml
from recordings import RATE, configuration, make_sounds

from manifests.audio import decode_flac
from stages.engines import espeak

EDITS = {"remove": 24, "extract": 24, "replace": 10, "transfer": 16, "speech_delete": 6, "generate": 6}


@pytest.fixture(scope="module")
def run(tmp_path_factory, audioedit_here, ray_head):
    folder = tmp_path_factory.mktemp("said")
    sounds, rows = make_sounds(folder / "sounds"), []
    for n in range(24):
        clip, audio, _ = espeak.play(espeak.utterance(3, n, source=0), RATE, espeak.Espeak())
        soundfile.write(folder / f"{n}.flac", audio[0], RATE)
        rows.append({"path": f"{n}.flac", "label": f"{('woman', 'man')[n % 2]} speaking", "transcript": clip.transcript, "speaker": clip.speaker})
    pd.DataFrame(rows).to_csv(folder / "said.csv", index=False)
    sources = [{"kind": "folder", "path": str(sounds), "label": "parent"}, {"kind": "manifest", "path": "said.csv", "domain": "speech"}]
    config = configuration(sounds, sources=sources, edits=EDITS, missing="skip", filters={"stop": None}, audio={"sample_rate": RATE, "seconds": 5.0})
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    done = audioedit_here("build", folder / "config.yaml", "-o", folder / "run", "--ray", ray_head)
    assert done.returncode == 0, done.stderr
    checked = audioedit_here("verify", folder / "run", "--pairs", "100")
    assert checked.returncode == 0, checked.stderr + checked.stdout
    shards = sorted(str(path) for path in (folder / "run/shards").glob("*.tar"))
    return folder / "run", [(json.loads(s["json"]), s["source.flac"], s["target.flac"]) for s in webdataset.WebDataset(shards, shardshuffle=False)]


def test_someone_speaking_is_a_sound_that_can_be_named_and_his_words_are_the_text_of_what_is_left(run):
    _, samples = run
    said = dict(pd.read_parquet(run[0] / "clips/clips.parquet")[["clip_id", "transcript"]].to_numpy())
    about = [(facts, json.loads(facts["params"])) for facts, *_ in samples if facts["label"].endswith("speaking") and not facts["noop"]]
    alone = [(facts, recipe) for facts, recipe in about if facts["edit"] == "extract" and len(recipe["edited"]) == 1]
    assert len(alone) >= 2 and any(facts["edit"] == "remove" for facts, _ in about)
    for facts, recipe in alone:
        words = " ".join(said[recipe["stems"][recipe["edited"][0]]["clip_id"]].split())
        assert words and facts["target_text"] == words and f"{facts['label']} (“{words}”)" in facts["source_text"] and facts["domain"] == "sound"
        assert facts["instruction"] == f"Extract the sound of '{facts['label']}' from the input audio." and facts["language"] == "en"
        assert facts["branch"] == "synthetic" and all(stem["role"] in ("background", "event") for stem in recipe["stems"])
    for facts, _ in about:
        assert facts["edit"] != "remove" or facts["label"] in facts["source_text"]


def test_the_same_recordings_are_edited_word_by_word(run):
    assert [facts for facts, *_ in run[1] if facts["edit"] == "speech_delete"]


def test_half_of_the_transfers_are_of_a_sound_alone(run):
    plan = pd.read_parquet(run[0] / "plan.parquet")
    kinds = plan[plan["edit"] == "transfer"]["kind"].value_counts()
    assert kinds.sum() == 16 and abs(kinds["solo"] - kinds["soundscape"]) <= 3  # whole numbers in each of three splits
    found = [sample for sample in run[1] if sample[0]["edit"] == "transfer" and json.loads(sample[0]["params"])["kind"] == "solo"]
    assert found
    for facts, *sides in found:
        recipe, (source, target) = json.loads(facts["params"]), (decode_flac(side)[0] for side in sides)
        one, other = (recipe["stems"][n] for n in recipe["edited"])
        assert recipe["before"] == [0] and recipe["after"] == [1] and other["follows"] and one["onset"] == other["onset"] and len(recipe["stems"]) == 2
        assert one["label"] != other["label"] and facts["instruction"] == f"Change the sound of '{one['label']}' to '{other['label']}'."
        inside = slice(one["onset"], one["onset"] + one["length"])
        assert not np.delete(source, np.r_[inside]).any() and not np.delete(target, np.r_[inside]).any() and np.abs(target[inside]).max() > 0.01
        frames = [side[inside][: one["length"] // 400 * 400].reshape(-1, 400) for side in (source, target)]
        levels = [10 * np.log10(np.maximum(np.square(frame).mean(axis=1), 1e-9)) for frame in frames]
        assert np.corrcoef(*levels)[0, 1] > 0.8  # as loud at each time
        assert facts["n_events"] == 1 and facts["branch"] == "synthetic"
