"""The report: one page that needs nothing else, escapes all that users wrote, and shows what the shards hold."""

import base64
import html
import io
import json
import re
from collections.abc import Sequence
from html.parser import HTMLParser
from uuid import uuid4

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import soundfile
from PIL import Image

from manifests.audio import decode_flac, to_int16
from manifests.clip import Clip
from manifests.labels import Labels
from manifests.pair import Pair
from manifests.part import Part
from manifests.storage import Storage
from manifests.tables import read_table, write_table
from pipeline import clips as clip_phase
from pipeline import finish, pairs, report
from pipeline.config import Filters, Scenes
from pipeline.histogram import HEIGHT as BAR_HEIGHT
from pipeline.histogram import histogram
from pipeline.sources import Listing, SourceFile
from pipeline.spectrogram import HEIGHT, LEVELS, WIDTH, band_power, pictures, ticks

RATE = 16_000
EVIL = """<script>alert(1)</script><img src=http://evil.example/x onerror="alert(1)">' onload='alert(2)"""
SPLITS = ("train", "val", "test")


def tone(hz: float, seconds: float, level: float = 0.2) -> np.ndarray:
    return (level * np.sin(2 * np.pi * hz * np.arange(round(seconds * RATE)) / RATE)).astype(np.float32)


def pair_of(edit: str, split: str, scene: int, channels: int, seconds: float, label: str, span: tuple[float, float]) -> Pair:
    """A tone all the time, and another within the span: on the target of an add, on the source of anything else."""
    without = np.tile(tone(440, seconds), (channels, 1))
    within = without.copy()
    first, last = (round(t * RATE) for t in span)
    within[0, first:last] += tone(3000, seconds)[first:last]
    before, after = (without, within) if edit == "add" else (within, without)
    clips = [{"id": "c0", "uri": f"/sounds/{label}.wav", "license": "cc0-1.0", "role": "event"}]
    return Pair(
        f"abcdef01-{scene:016x}-{edit}-1", f"{scene:016x}", edit, "synthetic", "demo", "music" if scene % 2 else "sound", "en", split, SPLITS.index(split),
        instruction=f"{edit} '{label}'", instructions=[f"{edit} '{label}'", f"please {edit} {label}"], label=label, duration_s=seconds, n_events=1,
        source_lufs=-20.0 - scene, target_lufs=-19.0 - scene, target_peak_dbfs=-3.0, snr_db=float(scene), local_snr_db=3.0, active_ratio=0.5, overlap_ratio=0.0,
        license="cc0-1.0", source_text="hum", target_text=f"hum and {label}", edit_spans=[list(span)], clips=clips, sample_rate=RATE,
        source=to_int16(before), target=to_int16(after),
    )


def spoken(edit: str, texts: tuple[str, str], label: str, spans: tuple[list[float], list[float]], seconds: tuple[float, float], **others) -> Pair:
    """A speech pair of tones: texts, edited spans and lengths are (source's, target's)."""
    sides = [to_int16(np.tile(tone(300 + 400 * n, length), (1, 1))) for n, length in enumerate(seconds)]
    found = {
        "params": {"kind": "utterance", "source_span": spans[0]}, "join_level_db": -40.0, "join_f0_semitones": 1.5, "wer_source": 0.0, "wer_target": 0.0,
        "asr_choice": "target", "chars_per_second": 12.5, "target_peak_dbfs": -3.0, "license": "cc0-1.0", **others,
    }
    return Pair(
        f"abcdef01-{900:016x}-{edit}-0", f"{900:016x}", edit, "real", "real", "speech", "en", "train", 0, instruction=edit, instructions=[edit], label=label,
        duration_s=seconds[1], n_events=1, source_text=texts[0], target_text=texts[1], edit_spans=[spans[1]], sample_rate=RATE,
        source=sides[0], target=sides[1], **found,
    )


SPOKEN = (
    ("speech_delete", ("no and no and yes", "no and yes"), "and no", ([1.0, 2.0], [1.0, 1.01]), (4.0, 3.01)),
    ("speech_insert", ("we came home", "we all came home"), "all", ([0.5, 0.51], [0.5, 1.01]), (2.0, 2.5)),
    ("speech_substitute", ("the big dog ran", "the small old dog ran"), "the big", ([0.2, 0.7], [0.2, 1.2]), (2.0, 2.5)),
)


def build(root: str, channels: int = 1, label: str = "bell", seconds: float = 2.0, speech: Sequence[Pair] = ()) -> Storage:
    """A finished run: two kept pairs of "add" and one of "remove" in each split, "replace" all rejected, speech in train; by the project's own commits."""
    run = Storage(root)
    clip = Clip(f"/sounds/{label}.wav", 0, 1, 0, "sound", "demo", label, role="event", peak_dbfs=-1.0, license=label)
    rejected = [Clip(f"/sounds/{label}-{n}.wav", 0, 0, 0, "sound", "demo", reason=f"no event: {label} for 0.{n} s (from 0.5 to 6 s)") for n in range(3)]
    work = clip_phase.ClipWork(run.root, RATE, channels, seconds, None, {}, ())
    ingested = {"stage": "ingest", "seconds": 2.0, "items": 1, "bytes": 0}
    state = {"part": Part("clips", 0, [clip]), "clips": [(clip, tone(440, 1)[None]), *((r, None) for r in rejected)], "stages": [ingested]}
    clip_phase.commit_clips(state, work)
    write_table(run, "clips/clips.parquet", pa.Table.from_pandas(clip_phase.gather(run, []), preserve_index=False))
    finish.write_sources(run, Listing({c.uri: SourceFile(c.uri, 0) for c in (clip, *rejected)}, [], ""))

    work = pairs.PairWork(run.root, 7, RATE, channels, round(seconds * RATE), -25.0, 0.5, 0.0, Labels.read(), 60.0, {}, tuple(Filters().rules))
    for number, split in enumerate(SPLITS):
        made = [pair_of(edit, split, 10 * number + n, channels, seconds, label, (0.5 * seconds, 0.75 * seconds))
                for n, edit in enumerate(("add", "add", "remove", "replace"))]
        made[-1].reason = f"'{label}' is too quiet for 16 bits: -9{number} dBFS"
        made += speech if split == "train" else []
        part = Part("pairs", number, made, split)
        pairs.commit_pairs(pairs.shard_part({"part": part, "scenes": [(None, made)], "stages": []}, work), work)
    finish.finish(run, len(SPLITS))
    configuration = {"audio": {"sample_rate": RATE, "channels": channels, "seconds": seconds}, "note": label, "filters": Filters().model_dump(mode="json"),
                     "scenes": Scenes().model_dump(mode="json")}
    run.write_json("run.json", {"identity": "abcdef0123", "configuration": configuration, "seed": 7, "clips_of": None, "state": "running",
                                "versions": {"audioedit": "0.1.0"}, "counts": {"left_out": [label], "made_of": [label]}})
    return run


class Page(HTMLParser):
    """What a browser would make of a page: elements with their attributes, and text."""

    def __init__(self, run: Storage):
        super().__init__()
        self.raw = run.read(report.PAGE).decode()
        self.elements: list[tuple[str, dict]] = []
        self.text = ""
        self.feed(self.raw)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data

    def uris(self, tag: str) -> list[bytes]:
        return [base64.b64decode(attrs["src"].partition(",")[2]) for name, attrs in self.elements if name == tag]


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Storage:
    run = build(str(tmp_path_factory.mktemp("runs") / "run"))
    report.write(run)
    return run


@pytest.fixture(scope="module")
def page(run) -> Page:
    return Page(run)


def rows_of(page: Page, heading: str) -> list[list[str]]:
    """The rows of the first table after a heading."""
    table = re.search(r"<table.*?</table>", page.raw[page.raw.index(heading):], re.DOTALL)[0]
    return [[html.unescape(re.sub("<.*?>", "", cell)) for cell in re.findall(r"<t[dh].*?</t[dh]>", row, re.DOTALL)]
            for row in re.findall(r"<tr.*?</tr>", table, re.DOTALL)]


def test_counts_every_edit_and_split(page):
    rows = {row[0]: row[1:] for row in rows_of(page, "Pairs by edit and split")}
    assert rows["add"] == ["2", "2", "0"] * 3 + ["6", "6", "0"]
    assert rows["replace"] == ["1", "0", "1"] * 3 + ["3", "0", "3"]
    assert rows["all"] == ["4", "3", "1"] * 3 + ["12", "9", "3"]


def test_reasons_that_differ_in_a_number_are_one(page):
    assert rows_of(page, "<h3>Pairs</h3>")[1:] == [["3", "'…' is too quiet for … bits: … dBFS", f"abcdef01-{3:016x}-replace-1"]]
    assert rows_of(page, ">Clips</h3>")[1][:2] == ["3", "no event: bell for … s (from 0.5 to 6 s)"]
    assert rows_of(page, ">Source files</h3>")[1][:2] == ["3", "no event: bell for … s (from 0.5 to 6 s)"]


def test_says_what_was_not_computed_and_which_tier(page):
    said = re.search("Not computed in this run.*", page.text)[0]
    assert "clap_gain" in said and "wer_source" in said and "CLAP" in said and "ASR" in said
    assert "snr_db" not in said
    assert "Tier demo. All pairs" in page.text


def test_stages_and_licences_are_told(page):
    assert [row[0] for row in rows_of(page, "<h2>Time</h2>")[1:]] == ["ingest", "store", "shard"]
    assert rows_of(page, ">Licences</h3>") == [
        ["licence", "clips", "kept pairs", ""], ["cc0-1.0", "0", "9", ""], ["bell", "1", "0", "unknown a name that is not known here"]]


def test_an_edit_without_pairs_says_so(page):
    assert "No pair of this edit was kept." in page.text[page.text.index("Another sound stands"):]


def test_needs_nothing_from_outside(page):
    for tag, attributes in page.elements:
        assert tag not in ("link", "iframe", "object", "embed", "base")
        for name in ("src", "href", "data"):
            assert attributes.get(name, "#").startswith(("#", "data:image/png;base64,", "data:audio/mpeg;base64,"))
    assert "url(" not in page.raw and "@import" not in page.raw


def test_players_play_what_the_shards_hold(page, run):
    sounds = [soundfile.read(io.BytesIO(data)) for data in page.uris("audio")]
    assert len(sounds) == 2 * (3 + 3)
    source, target = (audio for audio, rate in sounds[:2] if rate == RATE)
    first = re.search(r"(abcdef01-\S+-add-1) in (\S+\.tar)<", page.raw)
    members = report._members(run, first[2], first[1])
    for played, name in ((source, "source.flac"), (target, "target.flac")):
        stored = decode_flac(members[name])[0]
        assert len(played) == len(stored)
        assert np.corrcoef(played, stored)[0, 1] > 0.99
    assert np.abs(source - target)[: RATE // 2].max() < 0.02 < np.abs(source - target).max()


def test_pictures_differ_where_the_edit_is_and_only_there(page):
    source, target = (np.array(Image.open(io.BytesIO(data))).astype(int) for data in page.uris("img")[:2])
    assert source.shape == target.shape == (HEIGHT, WIDTH)
    changed = np.abs(source - target).max(axis=0)
    marks = re.search(r"left:([\d.]+)%;width:([\d.]+)%", page.raw)
    first, width = (float(m) / 100 * WIDTH for m in marks.groups())
    assert (first, width) == (0.5 * WIDTH, 0.25 * WIDTH)
    assert changed[int(first) + 10 : int(first + width) - 10].min() > LEVELS / 2
    assert changed[: int(first) - 20].max() <= 1 and changed[int(first + width) + 20 :].max() <= 1


def test_the_same_run_gives_the_same_page_whatever_its_state(run, page):
    facts = run.read_json("run.json")
    run.write_json("run.json", {**facts, "state": "done", "counts": {**facts["counts"], "kept": 9}, "lease": None})
    report.write(run)
    assert run.read(report.PAGE).decode() == page.raw


@pytest.mark.parametrize("channels", [1, 2])
def test_nothing_that_users_wrote_becomes_markup(tmp_path, channels):
    speech = [spoken(edit, (f"no {EVIL} no", "no no"), EVIL, ([0.5, 1.0], [0.5, 0.51]), (2.0, 1.51), transcribed_by=EVIL)
              for edit in ("speech_delete", "speech_substitute")] if channels == 1 else []
    run = build(str(tmp_path), channels, label=EVIL, speech=speech)
    report.write(run)
    page = Page(run)
    assert [tag for tag, _ in page.elements].count("script") == 1
    assert "<script>alert" not in page.raw and "<img src=http" not in page.raw
    assert not [name for _, attributes in page.elements for name in attributes if name.startswith("on")]
    assert page.text.count("<script>alert(1)</script>") > 20
    assert page.raw.count("<mark>&lt;script&gt;alert(1)") == page.raw.count("transcript by &lt;script&gt;") == len(speech)
    assert {soundfile.info(io.BytesIO(data)).channels for data in page.uris("audio")} == {channels}


@pytest.fixture(scope="module")
def speech_page(tmp_path_factory) -> Page:
    speech = [spoken(*facts) for facts in SPOKEN]
    speech[0].transcribed_by, speech[1].asr_choice = "pocketsphinx", None
    run = build(str(tmp_path_factory.mktemp("runs") / "run"), speech=speech)
    report.write(run)
    return Page(run)


def sides_of(page: Page, edit: str) -> list[str]:
    """The markup of both sides of the first pair of an edit."""
    article = page.raw[page.raw.index(f"<h3>{edit}<") :].partition("</article>")[0]
    return article.split('<div class="side">')[1:]


@pytest.mark.parametrize("edit, said", [
    ("speech_delete", ["no <mark>and no</mark> and yes", 'no <i class="gap"></i> and yes']),
    ("speech_insert", ['we <i class="gap"></i> came home', "we <mark>all</mark> came home"]),
    ("speech_substitute", ["<mark>the big</mark> dog ran", "<mark>the small old</mark> dog ran"]),
])
def test_both_texts_with_the_edited_words_marked(speech_page, edit, said):
    assert [re.search('<p class="said">(.*?)</p>', side)[1].strip() for side in sides_of(speech_page, edit)] == said


@pytest.mark.parametrize("edit, marks", [
    ("speech_delete", [("", "25.0", "25.0"), (" cut", "25.0", "0.25")]),
    ("speech_insert", [(" cut", "20.0", "0.4"), ("", "20.0", "20.4")]),
    ("speech_substitute", [("", "8.0", "20.0"), ("", "8.0", "40.0")]),
])
def test_each_side_has_its_own_marks(speech_page, edit, marks):
    assert [re.search(r'class="mark(.*?)" style="left:([\d.]+)%;width:([\d.]+)%"', side).groups() for side in sides_of(speech_page, edit)] == marks


def test_the_shorter_side_ends_where_it_ends_on_the_longers_scale(speech_page):
    source, target = sides_of(speech_page, "speech_delete")
    assert 'data-seconds="4.0"' in source and 'data-seconds="4.0"' in target
    assert "4.00 s" in source and "3.01 s" in target
    assert 'style="width:75.25%"' in target and not re.search(r"<img[^>]* style", source)
    for side, seconds in ((source, 4.0), (target, 3.01)):
        picture, sound = (base64.b64decode(found) for found in re.findall(r"base64,([^\"]+)", side))
        assert Image.open(io.BytesIO(picture)).size == (pytest.approx(WIDTH * seconds / 4, abs=1), HEIGHT)
        assert len(soundfile.read(io.BytesIO(sound))[0]) == round(seconds * RATE)


def test_scores_of_speech_and_whose_text_was_heard(speech_page):
    assert rows_of(speech_page, "Heard on the target") == [
        ["pairs by whose text a recognizer heard there", "target", "source", "neither"], ["speech_delete", "1", "0", "0"], ["speech_substitute", "1", "0", "0"]]
    for title in ("Join level", "Pitch step", "Pace"):
        assert f"<h3>{title}</h3>" in speech_page.raw
    assert "<h3>Alignment confidence</h3>" not in speech_page.raw
    assert speech_page.raw.count("<dt>heard</dt><dd>the target&#39;s text</dd>") == 2
    assert speech_page.raw.count("<span>transcript by pocketsphinx</span>") == 1


def test_of_a_long_pair_of_two_lengths_both_sides_start_at_one_time(tmp_path):
    run = build(str(tmp_path), speech=[spoken("speech_delete", ("a b c", "a c"), "b", ([12.0, 17.0], [12.0, 12.01]), (20.0, 15.01))])
    report.write(run)
    source, target = sides_of(Page(run), "speech_delete")
    assert "left:33.33%;width:41.67%" in source and "left:33.33%;width:0.08%" in target
    assert "width:58.42%" in target and 'data-seconds="12.0"' in target
    assert "20.00 s" in source and "15.01 s" in target


@pytest.mark.parametrize("source, target, label, side, at, found", [
    ("no no no", "no no", "no", 0, 0.0, (0, 1, 0)),
    ("no no no", "no no", "no", 0, 0.4, (1, 2, 1)),
    ("no no", "no no no", "no", 1, 0.7, (2, 2, 3)),
    ("a b a b", "a b", "b a", 0, 0.9, (1, 3, 1)),
    ("a b", "a b", "b", 0, 0.5, (1, 2, 2)),
    ("a", "a b c", "b c", 1, 0.5, (1, 1, 3)),
    ("x y a", "a", "x y", 0, 0.1, (0, 2, 0)),
    ("a b c", "a d c", "elsewhere", 0, 0.1, (1, 2, 2)),
    ("a a", "a", "", 0, 0.0, (1, 2, 1)),
    ("", "", "", 0, 0.0, (0, 0, 0)),
])
def test_edited_words_are_found_by_their_place(source, target, label, side, at, found):
    assert report.edited_words(source.split(), target.split(), label.split(), side, at) == found


@pytest.mark.parametrize("clap, asr, said", [
    (None, None, "No text-audio model (CLAP) and no speech recognizer (ASR) judged these pairs."),
    (None, 0.0, "No text-audio model (CLAP) judged these pairs."),
    (0.3, None, "No speech recognizer (ASR) judged these pairs."), (0.3, 0.0, None),
])
def test_says_which_judges_were_absent(run, tmp_path, monkeypatch, clap, asr, said):
    copy = Storage(str(tmp_path))
    for name in ("quality/summary.parquet", "quality/stages.parquet", "clips/clips.parquet", "shards/index.json", "run.json"):
        copy.write(name, run.read(name))
    rows = read_table(run, "quality/pairs.parquet").to_pandas().assign(clap_source=clap, wer_source=asr)
    write_table(copy, "quality/pairs.parquet", pa.Table.from_pandas(rows, preserve_index=False))
    monkeypatch.setattr(report, "_shown", lambda *_: {})
    report.write(copy)
    text = Page(copy).text
    assert said in text if said else "judged these pairs" not in text


def test_stages_stand_in_the_order_of_the_chain_with_their_shares(tmp_path):
    run = Storage(str(tmp_path))
    rows = [{"part": 0, "stage": stage, "seconds": 2.0 - (stage == "score"), "items": 1, "bytes": 0} for stage in ("shard", *report.STAGES, "another")]
    write_table(run, "quality/stages.parquet", pa.Table.from_pylist(rows))
    found = report._stages(run)
    assert [row["stage"] for row in found] == [*report.STAGES, "another"]
    total = 2 * (len(rows) - 1) + 1  # "shard" stands there twice
    shares = dict(zip([*report.STAGES, "another"], [2 / total] * len(found))) | {"score": 1 / total, "shard": 4 / total}
    assert {row["stage"]: row["share"] for row in found} == pytest.approx(shares)


def test_a_run_in_an_object_store_with_another_runs_clips():
    run = build(f"memory://{uuid4()}")
    for table in ("clips", "sources"):
        run.remove(f"quality/{table}.parquet")
    run.write_json("run.json", {**run.read_json("run.json"), "clips_of": "s3://bucket/other <run>"})
    report.write(run)
    page = Page(run)
    assert "s3://bucket/other <run>" in page.text
    assert len(page.uris("audio")) == 12


def test_of_a_long_pair_a_stretch_about_the_edit_is_shown(tmp_path):
    run = build(str(tmp_path), seconds=40.0)
    report.write(run)
    page = Page(run)
    assert "12.0 s from 18.0 s of 40.0 s" in page.text
    audio, _ = soundfile.read(io.BytesIO(page.uris("audio")[1]))
    assert len(audio) == 12 * RATE
    assert "left:16.67%;width:83.33%" in page.raw


def test_a_sample_rate_that_mp3_does_not_know_is_raised():
    audio, rate = soundfile.read(io.BytesIO(report._mp3(np.zeros((2, 20_000), np.float32), 20_000)))
    assert (rate, audio.shape[1]) == (22_050, 2) and abs(len(audio) - 22_050) < 5
    assert soundfile.info(io.BytesIO(report._mp3(np.zeros((1, 96_000), np.float32), 96_000))).samplerate == 48_000


def table(rows: int) -> pd.DataFrame:
    return pd.DataFrame([
        {"pair_id": f"p{n}", "scene_id": f"s{n // 4}", "edit": ("add", "remove")[n % 2], "split": SPLITS[n // 2 % 3],
         "domain": ("sound", "music")[n // 3 % 2], "part": 0}
        for n in range(rows)
    ])


def test_pairs_shown_are_of_all_splits_and_different_scenes():
    chosen = report.choose(table(400), 7)
    assert [c["edit"] for c in chosen] == ["add"] * 3 + ["remove"] * 3
    for edit in ("add", "remove"):
        assert {c["split"] for c in chosen if c["edit"] == edit} == set(SPLITS)
        assert {c["domain"] for c in chosen if c["edit"] == edit} == {"sound", "music"}
    assert len({c["scene_id"] for c in chosen}) == 6


def test_pairs_shown_follow_from_seed_and_names_alone():
    rows = table(400)
    ids = [c["pair_id"] for c in report.choose(rows, 7)]
    assert ids == [c["pair_id"] for c in report.choose(rows.sample(frac=1, random_state=1), 7)]
    assert ids != [c["pair_id"] for c in report.choose(rows, 8)]
    assert [c["pair_id"] for c in report.choose(rows[:1], 7)] == ["p0"]
    assert report.choose(rows[:0], 7) == []


def test_a_tone_is_brightest_at_its_own_height_and_as_loud_as_it_is():
    for text, height in ticks(RATE):
        hz = float(text.replace("k", "000"))
        power = band_power(tone(hz, 1.0, level=1.0)[None], RATE, RATE)
        assert abs(power[:, WIDTH // 2].argmax() - height * HEIGHT) <= 2
    assert -8 < 10 * np.log10(power.max()) <= 0.1


def test_both_pictures_share_one_scale_and_silence_is_dark():
    loud, soft = tone(1000, 1.0, level=0.5)[None], tone(1000, 0.5, level=0.005)[None]
    pixels = [np.array(Image.open(io.BytesIO(data))).astype(int) for data in pictures([loud, soft], RATE)]
    assert pixels[0].max() == LEVELS - 1
    assert pixels[0].max() - pixels[1].max() == pytest.approx(40 / 75 * (LEVELS - 1), abs=1)
    assert pixels[1].shape == (HEIGHT, WIDTH // 2)  # the shorter one ends there
    silent = pictures([np.zeros((2, RATE), np.float32)] * 2, RATE)
    assert np.array(Image.open(io.BytesIO(silent[0]))).max() == 0


def test_bars_are_as_high_as_counts_and_stand_on_each_other():
    drawn = histogram({"kept": np.repeat([0.05, 3.95], [30, 10]), "rejected": np.array([0.05] * 10 + [np.nan])}, stacked=True)
    assert drawn["most"] == 40
    heights = {name: [tuple(map(float, bar)) for bar in re.findall(r"M[\d.]+ ([\d.]+)V([\d.]+)", path)] for name, path in drawn["paths"].items()}
    assert heights["kept"] == [(BAR_HEIGHT, BAR_HEIGHT / 4), (BAR_HEIGHT, 0.75 * BAR_HEIGHT)]
    assert heights["rejected"] == [(BAR_HEIGHT / 4, 0.0)]
    assert [text for text, _ in drawn["ticks"]] == ["0", "1", "2", "3", "4"]


@pytest.mark.parametrize("values, found", [([], None), ([np.nan], None), ([2.5, 2.5, np.nan], {"only": 2.5})])
def test_a_histogram_of_nothing_or_of_one_value(values, found):
    assert histogram({"kept": np.array(values, float)}, stacked=True) == found


@pytest.mark.parametrize("low, high", [(-1e-3, 1e-3), (0, 1), (-70, 3), (1, 1e7), (-0.1, 123.4)])
def test_a_histogram_counts_every_value(low, high):
    values = np.linspace(low, high, 1000)
    drawn = histogram({"kept": values}, stacked=True)
    tops = [float(top) for top in re.findall(r"V([\d.]+)H", drawn["paths"]["kept"])]
    assert sum(BAR_HEIGHT - top for top in tops) / BAR_HEIGHT * drawn["most"] == pytest.approx(1000, rel=0.02)
    assert drawn["low"] <= low and drawn["high"] >= high
    assert json.dumps(drawn)
