"""Bad recordings cost their own rows and nothing else; a request that cannot be met is told in one line."""

import io
import os
import pathlib
import shutil
import signal

import av
import numpy as np
import pandas as pd
import pytest
import ray
import soundfile
import yaml
from recordings import RATE, configuration, tone

from pipeline.cli import main

PAIRS = {"add": 6, "remove": 6}


def encode_by_av(samples: np.ndarray, container: str, codec: str) -> bytes:
    buffer = io.BytesIO()
    with av.open(buffer, "w", format=container) as output:
        stream = output.add_stream(codec, rate=RATE, layout="mono")
        resampler = av.AudioResampler(format=stream.codec_context.format, layout="mono", rate=RATE, frame_size=stream.codec_context.frame_size or 1024)
        frame = av.AudioFrame.from_ndarray(samples[None].astype(np.float32), format="fltp", layout="mono")
        frame.sample_rate = RATE
        for ready in [*resampler.resample(frame), *resampler.resample(None)]:
            output.mux(stream.encode(ready))
        output.mux(stream.encode(None))
    return buffer.getvalue()


def sound(samples: np.ndarray, kind: str, subtype: str | None = None) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, RATE, format=kind.upper(), subtype=subtype)
    return buffer.getvalue()


def make_bad(folder: pathlib.Path, good: pathlib.Path) -> dict[str, str]:
    """Files that are none, in a folder. Gives a word of the reason that each must have."""
    folder.mkdir(parents=True)
    samples = tone(3.0, 300)
    by_av = {"m4a": ("mp4", "aac"), "webm": ("webm", "libopus")}
    words = {}

    def put(name: str, data: bytes, word: str) -> None:
        (folder / name).write_bytes(data)
        words[name] = word

    for kind in ("wav", "flac", "ogg", "mp3", "aiff", *by_av):
        whole = encode_by_av(samples, *by_av[kind]) if kind in by_av else sound(samples, kind)
        put(f"truncated.{kind}", whole[: len(whole) // 2], "")
        put(f"beginning.{kind}", whole[:20], "")
    put("empty.wav", b"", "empty")
    put("text.wav", b"This is a letter, and no recording.\n" * 20, "not audio")
    put("text.raw", b"This is a letter, and no recording.\n" * 20, "rate")
    put("zip.wav", b"PK\x03\x04" + bytes(range(256)) * 4, "not audio")
    put("playlist.wav", f"ffconcat version 1.0\nfile {good}\n".encode(), "not audio")
    put("header.wav", sound(np.zeros(0), "wav"), "no samples")
    put("nan.wav", sound(np.full(RATE, np.nan), "wav", "FLOAT"), "not finite")
    put("inf.wav", sound(np.append(samples, np.inf), "wav", "FLOAT"), "not finite")
    put("zeros.wav", sound(np.zeros(RATE), "wav"), "silent")
    put("faint.wav", sound(samples * 1e-4, "flac"), "quiet")
    put("sample.wav", sound(np.array([0.5]), "wav"), "too short")
    put("clipped.wav", sound(np.sign(samples), "wav"), "clipped")
    put("offset.wav", sound(samples / 2 + 0.3, "wav"), "DC offset")
    (folder / "folder.wav").mkdir()
    (folder / "dangling.wav").symlink_to(folder / "nowhere.wav")
    os.mkfifo(folder / "pipe.wav")
    os.link(good, os.path.join(os.fsencode(folder), b"caf\xe9.wav"))
    words |= {"folder.wav": "folder", "dangling.wav": "link", "pipe.wav": "not an ordinary file", "caf\\xe9.wav": "UTF-8"}
    if os.geteuid():
        put("locked.wav", sound(samples, "wav"), "permission")
        (folder / "locked.wav").chmod(0)
    return words


def one_line(done, code: int) -> str:
    """What a command says in its one line on stderr, progress bars aside."""
    lines = [line for line in done.stderr.replace("\r", "\n").splitlines() if line.strip() and not line.lstrip().startswith(("clips:", "pairs:"))]
    assert done.returncode == code and len(lines) == 1 and lines[0].startswith("audioedit: "), (done.returncode, done.stderr[-3000:])
    return lines[0]


@pytest.fixture(scope="module")
def mixed(tmp_path_factory, sounds, audioedit_here, ray_head):
    """One build over good recordings, bad ones, and a manifest of both; edits that lack their clips are left out."""
    folder = tmp_path_factory.mktemp("mixed")
    shutil.copytree(sounds, folder / "good")
    good = folder / "good/events/sound_0/0.wav"
    words = make_bad(folder / "bad/junk", good)
    soundfile.write(folder / "good/events/sound_1/.hidden.wav", tone(1.0, 500), RATE)
    soundfile.write(folder / "extra.wav", np.concatenate([np.zeros(4000), tone(1.0, 640), np.zeros(4000)]), RATE)
    words |= {"absent.wav": "no such file", "hero.wav": "hero", "backwards.wav": "stretch of time", "late.wav": "starts at", "x.wav": ""}
    for name in ("hero.wav", "backwards.wav", "late.wav"):
        soundfile.write(folder / name, tone(1.0, 330), RATE)
    rows = ["path,label,role,start,end,studio", "extra.wav,chime,event,,,B", "absent.wav,chime,,,,", "hero.wav,chime,hero,,,", "backwards.wav,chime,,2,1,",
            "late.wav,chime,,60,61,", f"file://{folder}/extra.wav,chime,,,,", "nosuch://bucket/x.wav,chime,,,,"]
    (folder / "m.csv").write_text("\n".join(rows) + "\n")
    sources = [{"kind": "folder", "path": str(folder / name), "label": "parent"} for name in ("good", "bad")]
    sources.append({"kind": "manifest", "path": str(folder / "m.csv")})
    config = folder / "mixed.yaml"
    config.write_text(yaml.safe_dump(configuration(sounds, sources=sources, edits={**PAIRS, "speech_delete": 3}, missing="skip")))
    done = audioedit_here("build", config, "-o", folder / "run", "--ray", ray_head)
    assert done.returncode == 0, done.stderr
    return folder, words, done


def test_each_bad_file_is_one_rejected_row_with_a_reason_in_words(mixed):
    folder, words, _ = mixed
    rows = pd.read_parquet(folder / "run/quality/sources.parquet")
    assert rows["uri"].is_unique
    rejected = rows[rows["status"] == "rejected"]
    bad = dict(zip(rejected["uri"].str.rpartition("/")[2], rejected["reason"]))
    assert set(bad) - {"extra.wav"} == set(words)
    for name, word in words.items():
        assert word in bad[name] and len(bad[name].split()) > 1, (name, bad[name])
        assert not any(sign in bad[name] for sign in ("Traceback", "Error(", "Errno", "0x", "\n")), (name, bad[name])


def test_good_files_are_kept_and_hidden_ones_never_seen(mixed):
    folder, words, _ = mixed
    rows = pd.read_parquet(folder / "run/quality/sources.parquet")
    names = rows.loc[rows["status"] == "ok", "uri"]
    assert {uri for uri in names if "/good/" in uri} == {str(p) for p in (folder / "good").rglob("*.wav") if not p.name.startswith(".")}
    assert rows.loc[rows["status"] == "ok", "reason"].isna().all() and not rows["uri"].str.contains("hidden").any()
    assert str(folder / "extra.wav") in set(names)
    again = rows[rows["uri"] == f"file://{folder}/extra.wav"].iloc[0]
    assert again["status"] == "rejected" and again["reason"] == f"the same sound as {folder}/extra.wav"


def test_clips_are_of_good_files_alone_and_keep_what_their_manifest_says(mixed):
    folder, words, _ = mixed
    clips, quality = pd.read_parquet(folder / "run/clips/clips.parquet"), pd.read_parquet(folder / "run/quality/clips.parquet")
    assert len(clips) == 40 and not clips["uri"].str.contains("/bad/").any()
    extra = clips[clips["uri"] == str(folder / "extra.wav")].iloc[0]
    assert (extra["label"], extra["role"], extra["metadata"]) == ("chime", "event", '{"studio":"B"}')
    assert quality.loc[quality["status"] == "rejected", "reason"].str.len().gt(0).all() and quality.loc[quality["status"] == "ok", "reason"].isna().all()


def test_an_edit_without_its_clips_is_left_out_where_that_is_allowed(mixed):
    folder, _, done = mixed
    left = [line for line in done.stderr.splitlines() if line.startswith("left out: ")]
    assert left and all("'speech_delete'" in line and "utterances" in line for line in left)
    pairs = pd.read_parquet(folder / "run/quality/pairs.parquet")
    assert pairs.groupby("edit").size().to_dict() == PAIRS and pairs["kept"].sum() >= 8


def test_such_a_run_is_verified(mixed, audioedit_here):
    checked = audioedit_here("verify", mixed[0] / "run", "--pairs", "5")
    assert checked.returncode == 0, checked.stdout


def test_all_files_bad_is_one_line(mixed, audioedit, ray_head, tmp_path, write_config):
    config = write_config(sources=[{"kind": "folder", "path": str(mixed[0] / "bad"), "label": "stem"}])
    said = one_line(audioedit("build", config, "-o", tmp_path / "run", "--ray", ray_head, timeout=100), 1)
    assert "none of" in said and "quality/sources.parquet" in said
    rows = pd.read_parquet(tmp_path / "run/quality/sources.parquet")
    assert (rows["status"] == "rejected").all() and rows["reason"].str.len().gt(0).all() and not (tmp_path / "run/shards").exists()


def labelled(folder: pathlib.Path, sounds: pathlib.Path, events: int, backgrounds: int) -> list[dict]:
    """Recordings of that many labels each, as a source."""
    for kind, count in (("events", events), ("backgrounds", backgrounds)):
        for label in sorted((sounds / kind).iterdir())[:count]:
            shutil.copytree(label, folder / kind / label.name)
    return [{"kind": "folder", "path": str(folder), "label": "parent"}]


@pytest.mark.parametrize(("edits", "events", "backgrounds", "words"), [
    ({"transfer": 3}, 1, 0, ["'transfer'", "label"]),
    ({"replace": 3}, 1, 1, ["'replace'", "label"]),
    ({"add": 3}, 1, 0, ["'add'", "label"]),
])
def test_what_the_sources_alone_show_to_be_missing_is_told_before_work(sounds, audioedit_here, ray_head, tmp_path, write_config, edits, events, backgrounds,
                                                                       words):
    config = write_config(sources=labelled(tmp_path / "sounds", sounds, events, backgrounds), edits=edits)
    said = one_line(audioedit_here("build", config, "-o", tmp_path / "run", "--ray", ray_head), 2)
    assert all(word in said for word in words) and not (tmp_path / "run/clips").exists()


def test_what_only_ingest_shows_to_be_missing_is_told_before_rendering(sounds, audioedit_here, ray_head, tmp_path, write_config):
    sources = labelled(tmp_path / "sounds", sounds, 4, 2)
    for path in (tmp_path / "sounds/backgrounds").rglob("*.wav"):
        path.write_bytes(path.read_bytes()[:3000])
    config = write_config(sources=sources, edits={"remove": 3})
    said = one_line(audioedit_here("build", config, "-o", tmp_path / "run", "--ray", ray_head), 1)
    assert "'remove'" in said and "0 backgrounds" in said and "missing: skip" in said
    assert (tmp_path / "run/clips").exists() and not (tmp_path / "run/shards").exists()


def test_a_folder_of_no_files(audioedit_here, tmp_path, write_config):
    (tmp_path / "none").mkdir()
    said = one_line(audioedit_here("build", write_config(sources=[{"kind": "folder", "path": str(tmp_path / "none")}]), "-o", tmp_path / "run"), 2)
    assert "no files" in said or "no source files" in said


# -- where the run is to be written


@pytest.fixture
def refused(capsys):
    """What a command says in its one line, exit code 2; in this process, since it is told before Ray starts."""

    def command(*arguments) -> str:
        before = signal.getsignal(signal.SIGTERM)
        try:
            code = main([str(argument) for argument in arguments])
        finally:
            signal.signal(signal.SIGTERM, before)
        said = capsys.readouterr().err
        assert code == 2 and said.startswith("audioedit: ") and said.count("\n") == 1 and not ray.is_initialized(), said
        return said

    return command


@pytest.mark.parametrize("place", ["file/run", "file/deep/run", "/proc/run", "/proc/deep/run", "/dev/null/run", "nosuch://bucket/run"])
def test_an_output_that_cannot_be_written(refused, tmp_path, write_config, place):
    (tmp_path / "file").write_text("a file")
    place = place if place.startswith("/") or "://" in place else str(tmp_path / place)
    assert place in refused("build", write_config(), "-o", place)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write all")
def test_an_output_that_may_not_be_written(refused, tmp_path, write_config):
    (tmp_path / "locked").mkdir(mode=0o500)
    assert "ermission" in refused("build", write_config(), "-o", tmp_path / "locked/run")


def test_an_output_folder_that_holds_other_things_is_left_alone(refused, tmp_path, write_config):
    (tmp_path / "run").mkdir()
    (tmp_path / "run/thesis.txt").write_text("years of work")
    for more in ((), ("--overwrite",)):
        assert "choose another folder" in refused("build", write_config(), "-o", tmp_path / "run", *more)
    (tmp_path / "run/run.json").write_text("not ours")
    assert "run.json" in refused("build", write_config(), "-o", tmp_path / "run", "--overwrite")
    assert (tmp_path / "run/thesis.txt").read_text() == "years of work" and len(list((tmp_path / "run").iterdir())) == 2


def test_clips_of_a_run_that_is_none(audioedit_here, tmp_path, write_config, ray_head):
    done = audioedit_here("build", write_config(), "-o", tmp_path / "run", "--clips", tmp_path / "none", "--ray", ray_head)
    assert "--clips" in one_line(done, 2)
