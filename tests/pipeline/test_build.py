"""A build as a whole, through the command line."""

import json
import shutil

import pandas as pd
import pytest


def shards(run) -> list:
    return [(s["name"], s["sha256"], s["pairs"]) for s in json.loads((run / "shards" / "index.json").read_text())]


def test_every_edit_in_every_split_and_all_verified(small_run, audioedit):
    rows = pd.read_parquet(small_run / "quality" / "pairs.parquet")
    kept = rows[rows["kept"]].groupby(["edit", "split"]).size()
    assert set(kept.index) == {(e, s) for e in ("add", "remove", "extract", "replace") for s in ("train", "val", "test")}
    assert rows.groupby("edit").size().to_dict() == {"add": 12, "remove": 12, "extract": 12, "replace": 9}
    checked = audioedit("verify", small_run, "--pairs", "1000")
    assert checked.returncode == 0, checked.stdout


def test_the_contract_s_files_and_no_others(small_run):
    files = {str(p.relative_to(small_run)) for p in small_run.rglob("*") if p.is_file()}
    named = {"run.json", "sources.parquet", "plan.parquet", "attribution.csv", "rooms.npy", "clips/clips.parquet", "shards/index.json", "report/index.html"}
    named |= {f"quality/{name}.parquet" for name in ("sources", "clips", "pairs", "summary", "wordings", "stages")}
    numbered = {f for f in files if f.startswith(("clips/clip-", "parts/", "shards/")) and f != "shards/index.json"}
    assert files == named | numbered


def test_tables_are_plain_pandas_and_agree(small_run):
    pairs, summary, clips, sources, stages, plan = (
        pd.read_parquet(small_run / name) for name in ("quality/pairs.parquet", "quality/summary.parquet", "quality/clips.parquet",
                                                       "quality/sources.parquet", "quality/stages.parquet", "plan.parquet"))
    assert summary["planned"].sum() == len(pairs) == len(plan) and summary["kept"].sum() == pairs["kept"].sum()
    assert (summary["rejected"] == summary["planned"] - summary["kept"]).all()
    assert len(sources) == 39 and (sources["status"] == "ok").all() and len(clips) == 39
    assert {"ingest", "render", "score", "shard"} <= set(stages["stage"]) and (stages["seconds"] > 0).all()
    for score in ("source_lufs", "target_lufs", "local_snr_db", "snr_db", "overlap_ratio", "active_ratio", "source_peak_dbfs", "target_peak_dbfs"):
        assert pairs[score].notna().all(), score
    for score in ("clap_source", "clap_target", "wer_source", "asr_choice", "leak_db"):
        assert pairs[score].isna().all(), score


def test_siblings_share_a_mixture_and_most_scenes_have_distractors(small_run):
    rows = pd.read_parquet(small_run / "quality" / "pairs.parquet")
    assert rows.groupby("scene_id").size().between(1, 4).all() and rows.groupby("scene_id").size().mean() >= 2
    assert rows.groupby("scene_id")[["split", "part"]].nunique().max().max() == 1
    asked = rows[rows["edit"].isin(["remove", "extract", "replace"])]
    assert (asked["n_events"] > 1).mean() >= 0.8


def test_a_second_build_does_nothing_and_says_so(small_run, audioedit):
    before = {p: p.stat().st_mtime_ns for p in small_run.rglob("*")}
    again = audioedit("build", small_run.parent / "small.yaml", "-o", small_run)
    assert again.returncode == 0 and "nothing to do" in again.stdout
    assert before == {p: p.stat().st_mtime_ns for p in small_run.rglob("*")}


def test_same_bytes_with_one_cpu_and_in_one_process_each(small_run, sounds, audioedit_here, tmp_path, write_config, ray_head):
    """One task at a time, and each stage on its own: the chain is cut everywhere, and nothing changes."""
    config = write_config(resources={"ingest": {"cpus": 2}, "render": {"cpus": 2}, "score": {"cpus": 1, "actors": 1}, "shard": {"cpus": 1}})
    # a pool of one CPU and a task of two do not fit two CPUs
    refused = audioedit_here("build", config, "-o", tmp_path / "run", "--ray", ray_head)
    assert refused.returncode == 2 and "resources" in refused.stderr
    config = write_config(resources={"ingest": {"cpus": 2}, "score": {"cpus": 1, "actors": 1}})
    done = audioedit_here("build", config, "-o", tmp_path / "run", "--ray", ray_head)
    assert done.returncode == 0, done.stderr
    assert shards(tmp_path / "run") == shards(small_run)


def test_ray_started_here_on_one_cpu_gives_the_same_bytes(small_run, audioedit, tmp_path, write_config):
    config = write_config(resources={stage: {"cpus": 2} for stage in ("ingest", "render", "score", "shard")})
    done = audioedit("build", config, "-o", tmp_path / "run")
    assert done.returncode == 0, done.stderr
    assert "planned" in done.stdout and "report/index.html" in done.stdout
    assert shards(tmp_path / "run") == shards(small_run)


def test_another_configuration_is_refused_and_overwrite_starts_anew(small_run, audioedit_here, tmp_path, write_config, ray_head):
    first = write_config("first.yaml", edits={"remove": 6})
    second = write_config("second.yaml", edits={"remove": 9})
    run = tmp_path / "run"
    assert audioedit_here("build", first, "-o", run, "--ray", ray_head).returncode == 0
    refused = audioedit_here("build", second, "-o", run, "--ray", ray_head)
    assert refused.returncode == 2 and refused.stderr.count("\n") == 1 and "--overwrite" in refused.stderr
    assert len(pd.read_parquet(run / "plan.parquet")) == 6
    assert audioedit_here("build", second, "-o", run, "--ray", ray_head, "--overwrite").returncode == 0
    assert len(pd.read_parquet(run / "plan.parquet")) == 9
    third = tmp_path / "third"
    taken = audioedit_here("build", first, "-o", third, "--ray", ray_head, "--clips", run)
    assert taken.returncode == 0, taken.stderr
    assert not list((third / "clips").glob("*.tar"))
    assert audioedit_here("verify", third).returncode == 0


def test_overwrite_starts_a_finished_run_anew_and_a_kill_while_clearing_leaves_nothing_that_looks_done(audioedit_here, tmp_path, write_config, ray_head):
    config, run = write_config(edits={"remove": 6}), tmp_path / "run"
    assert audioedit_here("build", config, "-o", run, "--ray", ray_head).returncode == 0
    made = shards(run)
    again = audioedit_here("build", config, "-o", run, "--ray", ray_head, "--overwrite")
    assert again.returncode == 0 and shards(run) == made, again.stderr
    # what a kill in the middle of clearing leaves: the record that says so, and some of the files
    facts = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps({**facts, "identity": "", "state": "failed"}))
    (run / "clips" / "clips.parquet").unlink()
    refused = audioedit_here("build", config, "-o", run, "--ray", ray_head)
    assert refused.returncode == 2 and "--overwrite" in refused.stderr
    assert audioedit_here("build", config, "-o", run, "--ray", ray_head, "--overwrite").returncode == 0 and shards(run) == made


def test_leavings_of_a_driver_killed_after_its_last_record_are_removed(small_run, audioedit_here, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(small_run, run)
    (run / ".attempts" / "pairs-00000-x").mkdir(parents=True)
    again = audioedit_here("build", small_run.parent / "small.yaml", "-o", run)
    assert again.returncode == 0 and "nothing to do" in again.stdout and not (run / ".attempts").exists()


def test_a_first_write_that_was_killed_does_not_lock_anyone_out(audioedit_here, tmp_path, write_config, ray_head):
    run = tmp_path / "run"
    run.mkdir()
    (run / ".run.json.0123456789ab.tmp").write_text("{")
    done = audioedit_here("build", write_config(edits={"remove": 6}), "-o", run, "--ray", ray_head)
    assert done.returncode == 0, done.stderr
    assert not list(run.rglob("*.tmp"))


def test_clips_of_another_kind_of_run_are_refused(small_run, audioedit_here, tmp_path, write_config):
    config = write_config(audio={"sample_rate": 8000, "seconds": 3.0})
    refused = audioedit_here("build", config, "-o", tmp_path / "run", "--clips", small_run)
    assert refused.returncode == 2 and refused.stderr.count("\n") == 1 and "8000" in refused.stderr and not (tmp_path / "run").exists()
    nowhere = audioedit_here("build", config, "-o", tmp_path / "run", "--clips", tmp_path / "nowhere")
    assert nowhere.returncode == 2 and "holds no run" in nowhere.stderr and not (tmp_path / "run").exists()


def test_no_clip_of_a_licence_that_is_not_allowed_enters_a_pair(sounds, audioedit_here, tmp_path, write_config, ray_head):
    stated = {"sound_0": "cc0-1.0", "sound_1": "CC-BY-4.0", "sound_2": "cc-by-nc-4.0", "sound_3": "", "sound_4": "cc0-1.0"}
    files = sorted(sounds.rglob("*.wav"))
    (tmp_path / "m.csv").write_text("path,label,author,license\n" + "".join(f"{f},{f.parent.name},=A,{stated.get(f.parent.name, 'CC0-1.0')}\n" for f in files))
    source, run, narrow = [{"kind": "manifest", "path": str(tmp_path / "m.csv")}], tmp_path / "run", tmp_path / "narrow"
    config = write_config(sources=source, edits={"add": 6, "remove": 6}, licenses={"allow": ["CC0-1.0", "cc-by-4.0"]})
    done = audioedit_here("build", config, "-o", run, "--ray", ray_head)
    assert done.returncode == 0, done.stderr
    clips, rows = pd.read_parquet(run / "quality" / "clips.parquet"), pd.read_parquet(run / "quality" / "sources.parquet")
    assert clips["reason"].value_counts().to_dict() == {
        "its licence is not in licenses.allow (cc-by-nc-4.0)": 6, "its source states no licence, which licenses.allow asks for": 6}
    assert len(rows) == 39 and rows.set_index("uri")["reason"].dropna().to_dict() == clips.set_index("file")["reason"].dropna().to_dict()
    pairs = pd.read_parquet(run / "quality" / "pairs.parquet")
    assert set(pairs["license"].str.lower()) == {"cc0-1.0", "cc-by-4.0"} and audioedit_here("verify", run).returncode == 0
    assert "exact" in audioedit_here("plan", config, "-o", run).stdout
    told, kept = pd.read_csv(run / "attribution.csv"), pairs.loc[pairs["kept"], "clip_ids"].explode()
    assert list(told["uri"]) == sorted(clips.set_index("clip_id").loc[kept.unique(), "file"]) and list(told["license"]) == [
        stated.get(uri.split("/")[-2], "CC0-1.0") for uri in told["uri"]]
    assert told["pairs"].sum() == len(kept) and set(told["author"]) == {"'=A"}

    config = write_config(sources=source, edits={"remove": 6}, licenses={"allow": ["cc0-1.0"]})
    assert "at most" in audioedit_here("plan", config, "-o", run).stdout
    taken = audioedit_here("build", config, "-o", narrow, "--ray", ray_head, "--clips", run)
    assert taken.returncode == 0 and f"left out: 6 of the 27 clips of {run}" in taken.stderr, taken.stderr
    assert set(pd.read_parquet(narrow / "quality" / "pairs.parquet")["license"].str.lower()) == {"cc0-1.0"}
    none = audioedit_here("build", write_config(sources=source, licenses={"allow": ["mit"]}), "-o", tmp_path / "none", "--clips", run)
    assert none.returncode == 2 and "none of its 27 clips" in none.stderr and not (tmp_path / "none").exists()


def test_a_report_of_a_run_that_is_not_done(small_run, audioedit_here, tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    facts = json.loads((small_run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps({**facts, "state": "running"}))
    told = audioedit_here("report", run)
    assert told.returncode == 1 and told.stderr.count("\n") == 1 and "not done" in told.stderr
    (run / "run.json").write_text("[]")
    assert audioedit_here("report", run).returncode == 2


def test_plan_is_an_upper_bound_then_exact(small_run, audioedit, audioedit_here, tmp_path, write_config):
    config = small_run.parent / "small.yaml"
    bound = audioedit("plan", config, "-o", tmp_path / "none")
    assert bound.returncode == 0 and "at most" in bound.stdout and not (tmp_path / "none").exists()
    exact = audioedit_here("plan", config, "-o", small_run)
    assert exact.returncode == 0 and "exact" in exact.stdout and "45 pairs" in exact.stdout


def test_stereo_music_and_sound(audioedit_here, tmp_path, write_config, ray_head):
    config = write_config(audio={"sample_rate": 22050, "channels": 2, "seconds": 4.0}, sources=[{"kind": "soundfont", "pieces": 6, "sounds": 40}],
                          edits={"add": 9, "remove": 9, "extract": 9, "replace": 6, "transfer": 9})
    done = audioedit_here("build", config, "-o", tmp_path / "run", "--ray", ray_head)
    assert done.returncode == 0, done.stderr
    rows = pd.read_parquet(tmp_path / "run" / "quality" / "pairs.parquet")
    assert set(rows["domain"]) == {"sound", "music"} and set(rows["tier"]) == {"demo"}
    assert audioedit_here("verify", tmp_path / "run", "--pairs", "100").returncode == 0


@pytest.mark.parametrize("arguments", [("verify",), ("status",), ("report",)])
def test_a_folder_that_holds_no_run(audioedit_here, tmp_path, arguments):
    done = audioedit_here(*arguments, tmp_path)
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and "no run" in done.stderr


def test_help_shows_an_example(audioedit):
    for command in ("build", "plan", "verify", "report", "status"):
        shown = audioedit(command, "--help")
        assert shown.returncode == 0 and "example: audioedit" in shown.stdout
    assert audioedit("biuld").returncode == 2
