"""What folders and manifests name, of which licence, and what of it makes a run another."""

import json
import os
import pathlib

import numpy as np
import pandas as pd
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from manifests.errors import RequestError
from pipeline.config import Config
from pipeline.sources import Listing, list_sources, windows


def listing_of(*sources: dict, **changes) -> Listing:
    return list_sources(Config(sources=list(sources), edits={"add": 1}, **changes))


def write(path: pathlib.Path, seconds: float = 0.01) -> pathlib.Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.zeros(round(8000 * seconds)), 8000)
    return path


def manifest(folder: pathlib.Path, text: str, name: str = "m.csv") -> dict:
    (folder / name).write_text(text)
    return {"kind": "manifest", "path": str(folder / name)}


# -- folders


def test_labels_come_from_the_folder_or_the_name(tmp_path):
    for name in ("dog_bark/one-two.wav", "rain/a/heavy_rain.v2.flac"):
        write(tmp_path / name)
    for label, expected in (("parent", ["dog bark", "a"]), ("stem", ["one two", "heavy rain.v2"]), (None, ["", ""])):
        found = listing_of({"kind": "folder", "path": str(tmp_path), "label": label, "role": "event", "license": "CC0", "domain": "music"})
        assert [clip.label for clip in found.named] == expected
        assert {(clip.role, clip.license, clip.domain, clip.source) for clip in found.named} == {("event", "CC0", "music", 0)}
        assert [clip.uri for clip in found.named] == list(found.files) == [str(tmp_path / "dog_bark/one-two.wav"), str(tmp_path / "rain/a/heavy_rain.v2.flac")]


def test_hidden_names_are_left_out_and_all_else_is_a_row(tmp_path):
    for name in ("a/good.wav", "a/.hidden.wav", ".git/x.wav", ".hidden/deep/x.wav"):
        write(tmp_path / name)
    (tmp_path / "notes.txt").write_text("about these recordings")
    assert [os.path.relpath(uri, tmp_path) for uri in listing_of({"kind": "folder", "path": str(tmp_path)}).files] == ["notes.txt", "a/good.wav"]


def test_what_is_no_file_is_rejected_with_a_reason_and_nothing_is_opened(tmp_path):
    write(tmp_path / "good.wav")
    (tmp_path / "folder.wav").mkdir()
    (tmp_path / "dangling.wav").symlink_to(tmp_path / "nowhere.wav")
    (tmp_path / "loop.wav").symlink_to(tmp_path / "loop.wav")
    (tmp_path / "empty.wav").touch()
    os.mkfifo(tmp_path / "pipe.wav")  # opened, it would wait for ever
    (tmp_path / "link.wav").symlink_to(tmp_path / "good.wav")
    found = {os.path.basename(uri): file for uri, file in listing_of({"kind": "folder", "path": str(tmp_path)}).files.items()}
    assert {name for name, file in found.items() if file.status == "ok"} == {"good.wav", "link.wav"}
    words = {"folder.wav": "folder", "dangling.wav": "link", "loop.wav": "link", "empty.wav": "empty", "pipe.wav": "ordinary file"}
    assert all(word in found[name].reason for name, word in words.items()) and len(found) == 7


def test_a_name_that_is_not_utf_8_is_a_rejected_row_that_can_be_stored(tmp_path):
    good = write(tmp_path / "good.wav")
    os.link(good, os.path.join(os.fsencode(tmp_path), b"caf\xe9.wav"))
    found = listing_of({"kind": "folder", "path": str(tmp_path), "label": "parent"})
    [bad] = [file for file in found.files.values() if file.status == "rejected"]
    assert "UTF-8" in bad.reason and bad.uri.encode() == os.fsencode(tmp_path) + b"/caf\\xe9.wav"
    assert {clip.uri for clip in found.named} == set(found.files)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read all")
def test_a_file_that_may_not_be_read(tmp_path):
    write(tmp_path / "x.wav").chmod(0)
    assert "permission" in listing_of({"kind": "folder", "path": str(tmp_path)}).files[str(tmp_path / "x.wav")].reason


@pytest.mark.parametrize("name", ["none", "file.wav", "a\0b"])
def test_a_folder_that_is_none(tmp_path, name):
    write(tmp_path / "file.wav")
    with pytest.raises(RequestError, match="no such folder"):
        listing_of({"kind": "folder", "path": str(tmp_path / name)})


# -- manifests

ROWS = [{"path": "a.wav", "label": "dog", "speaker": "007", "take": "3"}, {"path": "sub/b.wav", "label": "", "speaker": "8", "take": ""}]


@pytest.mark.parametrize("kind", ["csv", "jsonl", "ndjson", "parquet"])
@pytest.mark.parametrize("column", ["path", "file_name"])
def test_every_kind_of_manifest_says_the_same(tmp_path, kind, column):
    table = pd.DataFrame(ROWS).rename(columns={"path": column})
    path = tmp_path / f"m.{kind}"
    {"csv": lambda: table.to_csv(path, index=False), "parquet": lambda: table.to_parquet(path)}.get(
        kind, lambda: path.write_text("".join(json.dumps(row) + "\n" for row in table.to_dict("records"))))()
    found = listing_of({"kind": "manifest", "path": str(path), "domain": "speech"})
    assert [clip.uri for clip in found.named] == [str(tmp_path / "a.wav"), str(tmp_path / "sub/b.wav")]
    assert [(clip.label, clip.speaker, clip.domain) for clip in found.named] == [("dog", "007", "speech"), ("", "8", "speech")]
    assert json.loads(found.named[0].metadata) == {"take": "3"} and found.named[1].metadata == ""


def test_relative_absolute_and_uri(tmp_path):
    here, there = tmp_path / "lists", tmp_path / "sounds"
    here.mkdir()
    a, b = write(there / "a.wav"), write(there / "b c.wav")
    found = listing_of(manifest(here, f"path\n../sounds/a.wav\n{b}\nfile://{a}\n./x/../none.wav\nnosuch://bucket/x.wav\nfile://{tmp_path}/none.wav\n"))
    status = {uri: file.status for uri, file in found.files.items()}
    assert status == {str(a): "ok", str(b): "ok", f"file://{a}": "ok", str(here / "none.wav"): "rejected", "nosuch://bucket/x.wav": "rejected",
                      f"file://{tmp_path}/none.wav": "rejected"}
    assert all(file.reason for file in found.files.values() if file.status != "ok")
    assert found.files[f"file://{a}"].bytes == a.stat().st_size == found.files[str(a)].bytes


def test_a_uri_of_what_is_no_file(tmp_path):
    os.mkfifo(tmp_path / "pipe.wav")
    (tmp_path / "folder.wav").mkdir()
    found = listing_of(manifest(tmp_path, f"path\nfile://{tmp_path}/pipe.wav\nfile://{tmp_path}/folder.wav\n"))
    assert [file.reason for file in found.files.values()] == ["not an ordinary file"] * 2


def test_stretches_of_one_file(tmp_path):
    a = str(write(tmp_path / "a.wav"))
    found = listing_of(manifest(tmp_path, "path,start,end\na.wav,1.5,4\na.wav,,2\na.wav,6,\na.wav,20,30\na.wav,9,99\n"))
    assert list(found.files) == [a]
    found.files[a].seconds = 10.0
    assert [(w.start, w.end) for w in windows(found, 10.0)] == [(1.5, 4.0), (0.0, 2.0), (6.0, 10.0), (9.0, 10.0)]
    assert [clip.reason for clip in found.named if clip.reason] == ["it starts at 20 s, the file ends at 10 s"]


@pytest.mark.parametrize(("row", "words"), [
    *((row, "no stretch of time") for row in ("a.wav,4,2,,", "a.wav,2,2,,", "a.wav,-1,2,,", "a.wav,nan,,,", "a.wav,soon,,,", "a.wav,,-2,,")),
    ("a.wav,,,hero,", "'hero' is none of event, background, either"),
    ("a.wav,,,track,", "'track' is none of"), ("a.wav,,,,noise", "'noise' is none of sound, music, speech")])
def test_a_row_that_makes_no_sense_is_rejected_and_the_others_are_not(tmp_path, row, words):
    a = str(write(tmp_path / "a.wav"))
    found = listing_of(manifest(tmp_path, f"path,start,end,role,domain\n{row}\na.wav,1,2,event,speech\n"))
    assert words in found.named[0].reason and found.named[1].reason is None
    found.files[a].seconds = 10.0
    assert [(w.start, w.end, w.role, w.domain) for w in windows(found, 10.0)] == [(1.0, 2.0, "event", "speech")]


def test_a_row_without_a_path_is_told_by_its_number(tmp_path):
    source = manifest(tmp_path, "path,label\na.wav,cat\n,dog\n\n")
    found = listing_of(source)
    assert list(found.files) == [str(tmp_path / "a.wav")]
    assert [(clip.uri, clip.reason) for clip in found.named[1:]] == [(source["path"], "row 2 names no file")]
    assert windows(found, 10.0) == []


def test_a_manifest_that_names_itself_is_one_more_file(tmp_path):
    found = listing_of(manifest(tmp_path, "path\nm.csv\n"))
    assert list(found.files) == [str(tmp_path / "m.csv")] and windows(found, 10.0) == []


def test_a_path_with_a_nul_byte(tmp_path):
    found = listing_of(manifest(tmp_path, '{"path": "a\\u0000b.wav"}\n{"path": "file:///a\\u0000b.wav"}\n', "m.jsonl"))
    assert [file.reason for file in found.files.values()] == ["its name holds a NUL byte, which no file's can"] * 2


def test_what_is_named_twice_stands_once(tmp_path):
    write(tmp_path / "sounds/a.wav")
    rows = ["path,label,transcript,start,end,take", "sounds/a.wav,dog,,0,1,1", "./sounds/a.wav,dog,,0,1.0,2", "sounds/a.wav,dog,,1,2,3",
            "sounds/a.wav,cat,purr,0,1,4", "sounds/a.wav,sounds,,,,5", "sounds/a.wav,dog,,3,2,6", "sounds/a.wav,dog,,3,2,7"]
    one, two = manifest(tmp_path, "\n".join(rows)), manifest(tmp_path, "\n".join(rows[:2]).replace("dog", "x" * 99), "n.csv")
    found = listing_of({"kind": "folder", "path": str(tmp_path / "sounds"), "label": "parent"}, one, two)
    assert [clip.reason for clip in found.named] == [
        None, None, f"named twice: the same as row 1 of {one['path']}", None,
        "disagrees with another row on its label: 'cat', before 'dog' and its transcript: 'purr', before none",
        f"named twice: it lies in {tmp_path}/sounds", *["start and end make no stretch of time: 3.0 to 2.0"] * 2,
        f"disagrees with another row on its label: '{'x' * 40}…', before 'dog'"]
    found.files[str(tmp_path / "sounds/a.wav")].seconds = 10.0
    assert [(w.start, w.end) for w in windows(found, 10.0)] == [(0.0, 10.0), (0.0, 1.0), (1.0, 2.0)]


@pytest.mark.parametrize("text", ["🐕🔥" * 40, "word " * 10_000, "ሰላም ልዑል", "שלום עולם", "", " ", "\u202eback\u0000wards", "<script>alert(1)</script>"])
@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_any_transcript_is_listed_as_it_stands(tmp_path, kind, text):
    rows = pd.DataFrame([{"path": "a.wav", "transcript": text}])
    (tmp_path / f"m.{kind}").write_text(rows.to_csv(index=False) if kind == "csv" else json.dumps(rows.iloc[0].to_dict()))
    [clip] = listing_of({"kind": "manifest", "path": str(tmp_path / f"m.{kind}"), "domain": "speech"}).named
    assert clip.reason is None and (clip.transcript == text or kind == "csv" and clip.transcript == text.lstrip())


def test_a_hundred_thousand_rows_over_few_files_look_at_each_file_once(tmp_path, monkeypatch):
    write(tmp_path / "a.wav")
    looked, stat = [], os.stat
    monkeypatch.setattr(os, "stat", lambda path, *rest, **more: looked.append(path) or stat(path, *rest, **more))
    found = listing_of(manifest(tmp_path, "path,start,end\n" + "".join(f"a.wav,{n},{n + 1}\n" for n in range(100_000))))
    assert len(found.named) == 100_000 and looked.count(str(tmp_path / "a.wav")) == 1


@settings(max_examples=100, deadline=None)
@given(st.lists(st.fixed_dictionaries({"path": st.text(max_size=12)}, optional={
    key: st.text(max_size=6) for key in ("label", "role", "domain", "start", "end", "group", "other")}), max_size=5))
def test_any_text_in_a_manifest_is_listed(tmp_path_factory, rows):
    folder = tmp_path_factory.mktemp("m")
    found = listing_of(manifest(folder, "".join(json.dumps(row) + "\n" for row in rows) or '{"path": ""}', "m.jsonl"))
    assert len(found.named) == max(1, len(rows))
    assert all(file.status == "rejected" and file.reason for file in found.files.values())
    assert {clip.uri for clip in found.named} - {str(folder / "m.jsonl")} == set(found.files) - {str(folder / "m.jsonl")} and windows(found, 10.0) == []


# -- what folders, manifests and the package itself may hold


def test_embedded_music_is_listed_with_its_length():
    found = listing_of({"kind": "soundfont", "pieces": 2, "sounds": 3}, audio={"seconds": 5.0})
    assert len(found.files) == len(found.named) == 5 and all(f.seconds and f.status == "ok" and not f.bytes for f in found.files.values())
    assert len({clip.piece for clip in found.named if clip.piece}) == 2 and {clip.tier for clip in found.named} == {"demo"}


def test_folders_and_manifests_may_hold_conversations(tmp_path):
    write(tmp_path / "talks/a.wav")
    known = {"domain": "speech", "conversation": True}
    found = listing_of({"kind": "folder", "path": str(tmp_path / "talks"), **known}, {**manifest(tmp_path, "path,start,end\na.wav,1,2\n"), **known},
                       diarizer={"engine": "any"})
    assert [(clip.role, clip.source) for clip in found.named] == [("conversation", 0), ("conversation", 1)]


# -- licences

MIXED = "path,license\na.wav,CC0-1.0\nb.wav,cc-by-nc-4.0\nc.wav,\nd.wav,Freesound's own\ne.wav, cc-by-4.0 \n"


@pytest.mark.parametrize(("allow", "good"), [
    (None, "abcde"), (["cc0-1.0"], "a"), (["CC-BY-4.0", " cc0-1.0"], "ae"), (["freesound's own", "cc-by-nc-4.0"], "bd"), (["all rights reserved"], "")])
def test_clips_of_a_licence_that_is_not_allowed_have_a_reason_that_names_it(tmp_path, allow, good):
    for name in "abcde":
        write(tmp_path / f"{name}.wav")
    found = listing_of(manifest(tmp_path, MIXED), licenses={"allow": allow})
    assert "".join(clip.uri[-5] for clip in found.named if clip.reason is None) == good and len(found.files) == 5
    for clip in found.named:
        if clip.reason is not None:
            assert clip.reason == (f"its licence is not in licenses.allow ({clip.license})" if clip.license else
                                   "its source states no licence, which licenses.allow asks for")


def test_a_stretch_of_two_licences_has_the_one_that_was_named_first(tmp_path):
    write(tmp_path / "a.wav")
    found = listing_of(manifest(tmp_path, "path,license\na.wav,cc-by-nc-4.0\na.wav,cc0-1.0\n"), licenses={"allow": ["cc0-1.0"]})
    assert [clip.reason is None for clip in found.named] == [False, False]


def test_what_the_package_plays_or_folders_hold_has_the_licence_that_its_source_states(tmp_path):
    write(tmp_path / "a.wav")
    given = [{"kind": "soundfont", "pieces": 1, "sounds": 1}, {"kind": "espeak", "utterances": 1}, {"kind": "folder", "path": str(tmp_path)}]
    assert all(clip.license == "" and "no licence" in clip.reason for clip in listing_of(*given, licenses={"allow": ["cc0-1.0"]}).named)
    found = listing_of(*({**source, "license": "CC0-1.0"} for source in given), licenses={"allow": ["cc0-1.0"]})
    assert len(found.named) == 4 and all(clip.license == "CC0-1.0" and clip.reason is None for clip in found.named)


@pytest.mark.parametrize(("name", "meant"), [("cc-by-4", "cc-by-4.0"), ("CC BY 4.0", "cc-by-4.0"), ("publicdomain", "public-domain"),
                                             ("freesounds own", "freesound's own")])
def test_a_misspelt_licence_is_told_with_the_one_that_was_meant(tmp_path, name, meant):
    with pytest.raises(RequestError) as error:
        listing_of(manifest(tmp_path, MIXED), licenses={"allow": ["cc0-1.0", name]})
    assert str(error.value) == f"licenses.allow: unknown licence '{name}'; did you mean '{meant}'?"


def test_a_name_that_a_source_gives_is_no_misspelt_one(tmp_path):
    found = listing_of(manifest(tmp_path, "path,license\na.wav,CC0\nb.wav,cc-by-4.0-de\n"), licenses={"allow": ["cc0", "CC-BY-4.0-de", "cc-by-2.5", "mit"]})
    assert [clip.reason for clip in found.named] == [None, None]


# -- the digest, which decides whether a run is the same


def test_the_digest_tells_every_change_and_nothing_else(tmp_path):
    a, b = write(tmp_path / "sounds/a.wav"), write(tmp_path / "sounds/b.wav")
    sources = {"kind": "folder", "path": str(tmp_path / "sounds")}, manifest(tmp_path, "path\nsounds/b.wav\n")
    digests = [listing_of(*sources).digest]
    assert listing_of(*sources).digest == digests[0]
    times = a.stat().st_atime_ns, a.stat().st_mtime_ns

    def change(what) -> None:
        what()
        digests.append(listing_of(*sources).digest)

    change(lambda: os.utime(a, ns=(times[0], times[1] + 10**9)))
    change(lambda: (a.write_bytes(a.read_bytes() + b"\0"), os.utime(a, ns=(times[0], times[1] + 10**9))))
    change(lambda: manifest(tmp_path, "path\nsounds/b.wav\n\n"))
    change(lambda: write(tmp_path / "sounds/c.wav"))
    change(lambda: (tmp_path / "sounds/c.wav").rename(tmp_path / "sounds/d.wav"))
    change(b.unlink)
    assert len(set(digests)) == len(digests)
