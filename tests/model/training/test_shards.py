"""Samples by number out of tars."""

import json
import tarfile
from pathlib import Path

import pytest
import webdataset as wds
from made_run import make_run

from manifests.errors import RequestError
from model.training.shards import Shards


def test_every_sample_is_what_webdataset_reads_in_its_own_order(tmp_path):
    run = make_run(tmp_path / "run", train=7)
    shards = Shards([run], "train")
    theirs = {}
    for tar in sorted((tmp_path / "run/shards").glob("train-*.tar")):
        theirs |= {sample["__key__"]: sample for sample in wds.WebDataset(str(tar), shardshuffle=False)}
    mine = [shards.read(number) for number in reversed(range(len(shards)))]
    assert {sample.key for sample in mine} == set(theirs) and len(mine) == 7
    for sample in mine:
        assert sample.facts == json.loads(theirs[sample.key]["json"])
        assert sample.members == {side: theirs[sample.key][side] for side in ("source.flac", "target.flac")}


def test_runs_are_mixed_and_samples_chosen_by_id_and_split(tmp_path):
    one, other = make_run(tmp_path / "one", train=6), make_run(tmp_path / "other", train=3, seed=1)
    both = Shards([one, other], "train")
    assert len(both) == 9 and both.run.tolist() == [0] * 6 + [1] * 3
    assert [Shards([one], "train", {"train004"}).read(0).key] == ["train004"]
    assert len(Shards([one, other], "val")) == 4


def test_a_cut_tar_gives_what_stands_before_the_cut(tmp_path):
    run = make_run(tmp_path / "run", train=6, shard_of=6)
    tar = Path(run) / "shards/train-000000.tar"
    with tarfile.open(tar) as file:
        third = [member.offset for member in file if member.name.endswith(".source.flac")][2]
    tar.write_bytes(tar.read_bytes()[: third + 700])
    shards = Shards([run], "train")
    assert [shards.read(number).key for number in range(len(shards))] == ["train000", "train001"]
    assert len(shards.damaged) == 1 and "damaged after 2 samples" in shards.damaged[0]


def test_an_empty_and_a_missing_shard_are_told_of(tmp_path):
    run = make_run(tmp_path / "run", train=9)
    (Path(run) / "shards/train-000000.tar").write_bytes(b"")
    (Path(run) / "shards/train-000001.tar").unlink()
    shards = Shards([run], "train")
    assert len(shards) == 3 and len(shards.damaged) == 2


@pytest.mark.parametrize(("split", "keys"), [("test", None), ("train", {"none"})])
def test_nothing_wanted_is_one_line(tmp_path, split, keys):
    with pytest.raises(RequestError, match="no sample of the split"):
        Shards([make_run(tmp_path / "run")], split, keys)


def test_an_unfinished_run_is_one_line(tmp_path):
    with pytest.raises(RequestError, match="no finished run"):
        Shards([str(tmp_path)], "train")
