"""attribution.csv names every recording of a kept pair once, and no cell of it is a formula."""

import csv
import io
import json

import pandas as pd
import pytest

from pipeline.attribution import attribution, licenses


def clips(*rows: tuple[str, str, str, dict]) -> pd.DataFrame:
    found = [(clip, uri, license, json.dumps(known) if known else "") for clip, uri, license, known in rows]
    return pd.DataFrame(found, columns=["clip_id", "uri", "license", "metadata"])


def pairs(*rows: tuple[bool, list[str]]) -> pd.DataFrame:
    return pd.DataFrame([(f"p{n}", kept, ids) for n, (kept, ids) in enumerate(rows)], columns=["pair_id", "kept", "clip_ids"])


def read(data: bytes) -> list[list[str]]:
    return list(csv.reader(io.StringIO(data.decode(), newline="")))


def test_each_recording_of_a_kept_pair_is_a_row_with_how_many_it_stands_in():
    known = clips(("a1", "b.wav", "cc0-1.0", {}), ("a2", "b.wav", "cc0-1.0", {}), ("b", "a.wav", "", {}), ("c", "c.wav", "cc-by-4.0", {}))
    rows = pairs((True, ["a1", "a2", "b"]), (True, ["a2"]), (False, ["c", "b"]), (True, ["b"]))
    assert read(attribution(rows, known)) == [["uri", "license", "pairs"], ["a.wav", "", "2"], ["b.wav", "cc0-1.0", "2"]]


def test_titles_and_authors_stand_where_a_manifest_has_them():
    known = clips(("a", "a.wav", "cc-by-4.0", {"title": "Rain, heavy", "artist": 'The "X"', "take": "3"}), ("b", "b.wav", "cc-by-4.0", {"author": "Ä\r\nB"}))
    assert read(attribution(pairs((True, ["a", "b"])), known)) == [
        ["uri", "license", "pairs", "title", "author"], ["a.wav", "cc-by-4.0", "1", "Rain, heavy", 'The "X"'], ["b.wav", "cc-by-4.0", "1", "", "Ä\r\nB"]]
    known = clips(("a", "a.wav", "cc-by-4.0", {"author": "A", "artist": "B", "url": "https://a.example"}))
    assert read(attribution(pairs((True, ["a"])), known)) == [["uri", "license", "pairs", "author", "url"], ["a.wav", "cc-by-4.0", "1", "A", "https://a.example"]]


def test_what_differs_between_stretches_of_one_recording_is_all_told():
    known = clips(("a", "a.wav", "cc-by-4.0", {"title": "two"}), ("b", "a.wav", "cc-by-nc-4.0", {"title": "one"}))
    assert read(attribution(pairs((True, ["a"]), (True, ["b"])), known))[1] == ["a.wav", "cc-by-4.0; cc-by-nc-4.0", "2", "one; two"]


@pytest.mark.parametrize("text", ["=1+2", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1"])
def test_no_cell_is_a_formula(text):
    known = clips(("a", text, text, {"title": text, "author": text, "url": text}))
    assert read(attribution(pairs((True, ["a"])), known))[1] == [f"'{text}", f"'{text}", "1", *[f"'{text}"] * 3]


def test_the_order_of_rows_changes_nothing():
    known = clips(*((f"c{n}", f"{n % 5}.wav", ("cc0-1.0", "cc-by-4.0")[n % 2], {"title": f"t{n}"}) for n in range(20)))
    rows = pairs(*((n % 3 > 0, [f"c{n}", f"c{(n + 7) % 20}"]) for n in range(20)))
    assert attribution(rows[::-1], known.sample(frac=1, random_state=3)) == attribution(rows, known)
    assert read(attribution(rows[:0], known)) == [["uri", "license", "pairs"]]


def test_licences_are_counted_and_those_that_are_unknown_are_told():
    assert licenses(["CC0-1.0", "", "mit", "CC0-1.0"], ["mit", "mit", ""]) == [
        ("mit", 1, 2, "a name that is not known here"), ("", 1, 1, "its sources state none"), ("CC0-1.0", 2, 0, "")]
