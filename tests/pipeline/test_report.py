"""The report: one page that needs nothing else, escapes all that users wrote, and tells what parts committed."""

import io
import re
from uuid import uuid4

import pyarrow as pa
import pytest
import soundfile
from made_report import EVIL, Page, build, page_of, rows_of, spoken

from manifests.storage import Storage
from manifests.tables import read_table, write_table
from pipeline import report


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> Page:
    return page_of(str(tmp_path_factory.mktemp("runs") / "run"))


@pytest.fixture
def run(page) -> Storage:
    return page.run


def test_counts_every_edit_and_split(page):
    rows = {row[0]: row[1:] for row in rows_of(page, "Pairs by edit and split")}
    assert rows["add"] == ["2", "2", "0"] * 3 + ["6", "6", "0"]
    assert rows["replace"] == ["1", "0", "1"] * 3 + ["3", "0", "3"]
    assert rows["all"] == ["4", "3", "1"] * 3 + ["12", "9", "3"]


def test_counts_wordings_whatever_they_name(page):
    rows = {row[0]: row[1:6] for row in rows_of(page, ">Wordings</h3>")[2:]}
    assert rows == {edit: ["2", "50.0 %", "2", "50.0 %", "1 (50 %)"] for edit in ("add", "remove")}
    stored = read_table(page.run, "quality/wordings.parquet").to_pandas()
    assert stored[stored["edit"] == "add"].groupby("split")["pairs"].agg(list).to_dict() == {split: [2, 2] for split in ("test", "train", "val")}
    assert set(stored["wording"][stored["split"] == "test"]) == {f"{words} {{label}}" for words in ("kindly add", "kindly remove")} | {
        "add '{label}'", "remove '{label}'"}


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


def test_the_same_run_gives_the_same_page_whatever_its_state(run, page):
    facts = run.read_json("run.json")
    run.write_json("run.json", {**facts, "state": "done", "counts": {**facts["counts"], "kept": 9}, "lease": None})
    report.write(run)
    assert run.read(report.PAGE).decode() == page.raw


@pytest.mark.parametrize("channels", [1, 2])
def test_nothing_that_users_wrote_becomes_markup(tmp_path, channels):
    speech = [spoken(edit, (f"no {EVIL} no", "no no"), EVIL, ([0.5, 1.0], [0.5, 0.51]), (2.0, 1.51), transcribed_by=EVIL)
              for edit in ("speech_delete", "speech_substitute")] if channels == 1 else []
    page = page_of(str(tmp_path), channels=channels, label=EVIL, speech=speech)
    assert [tag for tag, _ in page.elements].count("script") == 1
    assert "<script>alert" not in page.raw and "<img src=http" not in page.raw
    assert not [name for _, attributes in page.elements for name in attributes if name.startswith("on")]
    assert page.text.count("<script>alert(1)</script>") > 20
    assert page.raw.count("<mark>&lt;script&gt;alert(1)") == page.raw.count("transcript by &lt;script&gt;") == len(speech)
    assert {soundfile.info(io.BytesIO(data)).channels for data in page.uris("audio")} == {channels}


@pytest.mark.parametrize("clap, asr, said", [
    (None, None, "No text-audio model (CLAP) and no speech recognizer (ASR) judged these pairs."),
    (None, 0.0, "No text-audio model (CLAP) judged these pairs."),
    (0.3, None, "No speech recognizer (ASR) judged these pairs."), (0.3, 0.0, None),
])
def test_says_which_judges_were_absent(run, tmp_path, clap, asr, said):
    copy = Storage(str(tmp_path))
    for name in ("quality/summary.parquet", "quality/stages.parquet", "quality/wordings.parquet", "clips/clips.parquet", "plan.parquet", "run.json",
                 "shards/index.json", *(shard["name"] for shard in run.read_json("shards/index.json"))):
        copy.write(name, run.read(name))
    rows = read_table(run, "quality/pairs.parquet").to_pandas().assign(clap_source=clap, wer_source=asr)
    write_table(copy, "quality/pairs.parquet", pa.Table.from_pandas(rows, preserve_index=False))
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
