"""A whole demo run, read by the readers that trainers use, without our code."""

import io
import json
import pathlib

import pandas as pd
import pytest
import soundfile

from manifests.pair import EDITS

ROOT = pathlib.Path(__file__).parents[2]


@pytest.fixture(scope="module")
def demo(tmp_path_factory, audioedit, ray_head) -> pathlib.Path:
    run = tmp_path_factory.mktemp("demo") / "run"
    done = audioedit("build", ROOT / "configs" / "demo.yaml", "-o", run, "--ray", ray_head, timeout=290)
    assert done.returncode == 0, done.stderr
    return run


@pytest.fixture(scope="module")
def kept(demo) -> pd.DataFrame:
    rows = pd.read_parquet(demo / "quality" / "pairs.parquet")
    return rows[rows["kept"]].set_index("pair_id")


def test_the_demo_keeps_what_it_promises(demo, kept, audioedit_here):
    assert len(kept) >= 200
    counts = kept.groupby(["edit", "split"]).size()
    assert set(counts.index) == {(e, s) for e in EDITS if not e.endswith("_speaker") for s in ("train", "val", "test")}
    asked = kept[kept["edit"].isin(["remove", "extract", "replace"])]
    assert (asked["n_events"] > 1).mean() >= 0.8
    checked = audioedit_here("verify", demo, "--pairs", "60")
    assert checked.returncode == 0, checked.stdout


def test_webdataset(demo, kept):
    import webdataset

    shards = sorted(map(str, (demo / "shards").glob("*.tar")))
    found = {}
    for sample in webdataset.WebDataset(shards, shardshuffle=False):
        said = json.loads(sample["json"])
        for side in ("source", "target"):
            audio, rate = soundfile.read(io.BytesIO(sample[f"{side}.flac"]))
            assert rate == said["sample_rate"]
            if said["domain"] == "speech":  # as long as what is said
                assert len(audio) == round(said["duration"] * rate) if side == "target" else len(audio) > 0
            else:
                assert len(audio) == round(10 * rate)
        assert sample["__key__"] == said["id"] and said["instruction"] == kept.loc[said["id"], "instruction"]
        found[said["id"]] = {name: type(value) for name, value in said.items()}
    assert set(found) == set(kept.index)
    assert len({tuple(types.items()) for types in found.values()}) == 1, "every sample has the same keys with the same types"


def test_hugging_face_datasets(demo, kept, tmp_path):
    import datasets

    files = {split: sorted(map(str, (demo / "shards").glob(f"{split}-*.tar"))) for split in ("train", "val", "test")}
    loaded = datasets.load_dataset("webdataset", data_files=files, cache_dir=str(tmp_path))
    for split, data in loaded.items():
        data = data.cast_column("source.flac", datasets.Audio(decode=False)).cast_column("target.flac", datasets.Audio(decode=False))
        assert len(data) == (kept["split"] == split).sum()
        for row in data.select(range(3)):
            audio, rate = soundfile.read(io.BytesIO(row["target.flac"]["bytes"]))
            assert rate == 44100 and len(audio) == round(row["json"]["duration"] * rate) and row["json"]["edit"] in row["__key__"]
