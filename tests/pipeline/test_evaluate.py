"""`audioedit evaluate` on a finished run: the model, another system's recordings, and what is wrong with a request."""

import json
import pathlib
import shutil
import tarfile

import pandas as pd
import pytest
import soundfile

from manifests.audio import decode_flac
from model.evaluate import scores
from model.evaluation.distances import BEST
from model.evaluation.task import Task
from model.recording import fitted
from pipeline.cli import main
from pipeline.evaluate import listeners_of
from stages.engines.espeak import Espeak

pytest.importorskip("torch")
pytest.importorskip("transformers")

from tiny_model import make_model  # noqa: E402

from model.tiny_mllm import make_tiny_thinker  # noqa: E402


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> str:
    folder = tmp_path_factory.mktemp("model")
    return make_model(folder, make_tiny_thinker(folder / "thinker"))


@pytest.fixture(scope="module")
def sides(small_run, tmp_path_factory) -> pathlib.Path:
    """The test split's sources and targets as wav files by pair id, in a folder each."""
    folder = tmp_path_factory.mktemp("sides")
    for side in ("source", "target"):
        (folder / side).mkdir()
        for shard in sorted((small_run / "shards").glob("test-*.tar")):
            with tarfile.open(shard) as tar:
                for member in tar:
                    if member.name.endswith(f".{side}.flac"):
                        audio = decode_flac(tar.extractfile(member).read())
                        soundfile.write(folder / side / f"{member.name.partition('.')[0]}.wav", audio.T, 16_000, subtype="FLOAT")
    return folder


def call(*arguments) -> int:
    """The command in this process."""
    return main(["evaluate", *map(str, arguments)])


def test_pairs_and_systems_are_rows_and_the_screen_shows_the_means(small_run, model, tmp_path, one_thread, capsys):
    out = tmp_path / "deeper" / "scores.parquet"
    assert call(model, "--data", small_run, "-o", out, "--steps", "1", "--limit", "5", "--by", "tier", "--by", "local_snr_db") == 0
    shown, told = capsys.readouterr()
    rows, known = pd.read_parquet(out), pd.read_parquet(small_run / "quality" / "pairs.parquet")
    assert rows["pair_id"].nunique() == 5 and not rows.duplicated(["pair_id", "system"]).any()
    assert set(rows["system"]) >= {"model", "codec", "copy", "silence"} and set(rows["split"]) == {"test"}
    assert set(known.columns) <= set(rows.columns) and rows["clap"].isna().all() and rows["lsd_db"].notna().all()
    codec = rows[(rows["system"] == "codec") & ~rows["edit"].isin(["add", "replace"])]
    assert (codec["si_sdr_db"] > 40).all()  # the codec loses nothing
    copied, target = rows[rows["system"] == "copy"], known.set_index("pair_id")["change_db"]
    changed = copied[copied["edit"] != "extract"]
    assert changed["inside_db"].to_numpy() == pytest.approx(target[changed["pair_id"]].to_numpy(), abs=0.01)  # two ways to the same figure
    assert shown.count("siblings (chance)") == 3 and "time_gate" in shown and "local_snr_db" in shown and str(out) in shown
    assert "5/5" in told


def test_the_targets_as_outputs_are_perfect_and_the_sources_are_the_copy(small_run, sides, tmp_path):
    found = {}
    for side in ("source", "target"):
        assert call("--data", small_run, "--outputs", sides / side, "-o", tmp_path / f"{side}.parquet") == 0
        found[side] = pd.read_parquet(tmp_path / f"{side}.parquet").set_index(["system", "pair_id"])
    perfect, sources = (found[side].loc["outputs"] for side in ("target", "source"))
    assert len(perfect) == len(list((sides / "target").iterdir())) > 0 and set(found["target"].index.get_level_values(0)) >= {"copy", "time_gate"}
    assert set(perfect["si_sdr_db"].dropna()) == {BEST} and (perfect["lsd_db"] == 0).all() and perfect["sibling"].dropna().all()
    assert perfect["sibling"].notna().any()
    metrics = ["si_sdr_db", "lsd_db", "mr_stft", "inside_db", "outside_db"]
    pd.testing.assert_frame_equal(sources[metrics], found["source"].loc["copy"][metrics])


def test_missing_and_damaged_outputs_are_told(small_run, sides, tmp_path, capsys):
    few = tmp_path / "few"
    shutil.copytree(sides / "target", few)
    lost, broken, *_ = sorted(few.iterdir())
    lost.unlink()
    broken.write_bytes(b"RIFF")
    assert call("--data", small_run, "--outputs", few, "-o", tmp_path / "few.parquet") == 0
    rows = pd.read_parquet(tmp_path / "few.parquet")
    notes = rows[rows["system"] == "outputs"].set_index("pair_id")["note"]
    assert notes[lost.stem] == f"there is no {lost.stem}.wav or .flac" and notes[broken.stem] and notes.drop([lost.stem, broken.stem]).isna().all()
    assert f"outputs: 2 of {len(notes)} have no scores" in capsys.readouterr().out


@pytest.mark.parametrize(("changes", "told"), [
    ({"--data": "nowhere"}, "nowhere: holds no run"), ({"--outputs": "nowhere"}, "--outputs nowhere: there is no such folder"),
    ({"--outputs": "."}, "holds no .wav or .flac files"), ({"--outputs": None}, "give a MODEL, or --outputs"), ({"MODEL": "nowhere"}, "nowhere"),
    ({"-o": "scores.csv"}, "write a .parquet file"), ({"-o": "/dev/null/scores.parquet"}, "cannot be written"), ({"--limit": "0"}, "--limit 0"),
    ({"--by": "tiers"}, "did you mean 'tier'?"), ({"--by": "clip_ids"}, "several values"),
])
def test_what_is_wrong_is_one_line_before_any_work(small_run, sides, tmp_path, monkeypatch, capsys, changes, told):
    monkeypatch.chdir(tmp_path)
    asked = {"--data": str(small_run), "--outputs": str(sides / "target"), "-o": "scores.parquet", **changes}
    place = [asked.pop("MODEL")] if "MODEL" in asked else []
    assert call(*place, *(word for name, value in asked.items() if value is not None for word in (name, value))) == 2
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1 and said[0].startswith("audioedit: ") and told in said[0], said
    assert not (tmp_path / "scores.parquet").exists()


def with_scorers(run: pathlib.Path, copy: pathlib.Path, **scorers) -> pathlib.Path:
    """A copy of a run whose configuration names these."""
    shutil.copytree(run, copy)
    facts = json.loads((copy / "run.json").read_text())
    facts["configuration"]["scorers"] = scorers
    (copy / "run.json").write_text(json.dumps(facts))
    return copy


def test_the_runs_own_clap_listens_and_one_that_is_not_here_is_told(small_run, sides, tmp_path, capsys):
    run = with_scorers(small_run, tmp_path / "run", clap={"engine": "oracles:Scorer"}, asr=None)
    assert call("--data", run, "--outputs", sides / "target", "-o", tmp_path / "one.parquet") == 0 and "CLAP" in capsys.readouterr().out
    found = pd.read_parquet(tmp_path / "one.parquet").groupby(["edit", "system"])["clap"].mean()
    for edit in ("add", "remove", "extract"):
        assert found[edit, "outputs"] > 0.5  # of what came or went; its lowest partial has 0.73 of a tone's energy where no room colours it
    assert found.isna()["add", "copy"] and found["extract", "copy"] < found["extract", "outputs"]
    run = with_scorers(small_run, tmp_path / "other", clap={"engine": "oracles:Nobody"}, asr=None)
    assert call("--data", run, "--outputs", sides / "target", "-o", tmp_path / "two.parquet", "--limit", "2") == 0
    assert "no CLAP: scorer: engine 'oracles:Nobody' cannot be loaded" in capsys.readouterr().err
    assert pd.read_parquet(tmp_path / "two.parquet")["clap"].isna().all()


def test_what_is_said_is_held_against_the_targets_text():
    speak, texts = Espeak().speak, ("we waited near the bridge", "we waited near the old green bridge")
    source, target = (speak(text, "en-us+adam", 16_000)[0] for text in texts)
    facts = {"edit": "speech_insert", "noop": False, "edit_spans": [[1.0, 1.5]], "params": json.dumps({"source_span": [1.0, 1.0]}), "label": "",
             "language": "en", "source_text": texts[0], "target_text": texts[1]}
    listeners, task = listeners_of({"clap": None, "asr": {"engine": "pocketsphinx"}}, {"speech_insert"}), Task(source, target, 16_000, facts)
    assert listeners.clap is None and listeners_of({"asr": {"engine": "pocketsphinx"}}, {"add"}).wer is None
    assert scores(target, task, listeners)["wer"] == 0
    assert scores(fitted(source, target.shape[1]), task, listeners)["wer"] == pytest.approx(2 / 7)
    made = facts | {"edit": "generate", "source_text": "", "params": json.dumps({"stems": [{"role": "speech"}]})}
    assert scores(target, Task(0 * target, target, 16_000, made), listeners)["wer"] is None


def test_nothing_is_overwritten_unasked_and_an_unfinished_run_is_refused(small_run, sides, tmp_path, capsys):
    out = tmp_path / "scores.parquet"
    out.write_text("mine")
    asked = ("--outputs", sides / "target", "--limit", "1", "-o", out)
    assert call("--data", small_run, *asked) == 2 and "--overwrite" in capsys.readouterr().err and out.read_text() == "mine"
    assert call("--data", small_run, *asked, "--overwrite") == 0 and len(pd.read_parquet(out))
    half = with_scorers(small_run, tmp_path / "half")
    facts = json.loads((half / "run.json").read_text())
    (half / "run.json").write_text(json.dumps({**facts, "state": "running"}))
    capsys.readouterr()
    assert call("--data", half, *asked, "--overwrite") == 2 and "the run is running, not done" in capsys.readouterr().err
