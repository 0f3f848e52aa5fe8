"""A manifest of any kind and of any bytes is rows of text, or one line that says what is wrong."""

import io
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from manifests.errors import RequestError
from pipeline.manifest import read_manifest


@pytest.mark.parametrize(("name", "data", "words"), [
    ("m.csv", b"name,label\na.wav,dog\n", "needs a column 'path' (or 'file_name'); it has name, label"),
    ("m.csv", b"path;label\na.wav;dog\n", "it has path;label"),
    ("m.jsonl", b'{"name": "a.wav"}\n', "it has name"),
    ("m.jsonl", b"", "it has none"),
    ("m.csv", b"", "cannot be read as a table"),
    ("m.csv", b"path,label\na.wav,dog\nb.wav,cat,miaows\n", "cannot be read as a table"),
    ("m.csv", b"path,label\na.wav,dog,\nb.wav,cat,\n", "more fields than its header"),
    ("m.csv", b'path,label\n"a.wav,dog\n', "cannot be read as a table"),
    ("m.csv", "path\ncafé.wav\n".encode("latin-1"), "cannot be read as a table"),
    ("m.jsonl", b'{"path": "a.wav"\n', "cannot be read as a table"),
    ("m.jsonl", b'[{"path": "a.wav"}]\n', "one object"),
    ("m.jsonl", b'{"path":' + b"[" * 9999 + b"\n", "cannot be read as a table"),
    ("m.parquet", b"path\na.wav\n", "cannot be read as a table"),
    ("m.tsv", b"path\na.wav\n", "a .csv, .jsonl or .parquet file"),
])
def test_what_is_no_such_table_is_told_in_one_line(name, data, words):
    with pytest.raises(RequestError) as error:
        read_manifest(name, data)
    assert str(error.value).startswith(f"{name}: ") and words in str(error.value) and "\n" not in str(error.value)


def parquet(columns: dict) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(pa.table(columns), buffer)
    return buffer.getvalue()


def test_values_of_any_type_are_text(tmp_path):
    columns = {"path": ["a", "b"], "speaker": pa.array([7, None]), "tags": [["x", "y"], ["z"]], "about": [{"n": 1}, None],
               "start": [0.5, None], "ok": [True, None]}
    one, two = read_manifest("m.parquet", parquet(columns))
    assert (one["speaker"], one["start"], one["ok"], one["about"]) == ("7", "0.5", "True", "{'n': 1}") and "x" in one["tags"]
    assert (two["speaker"], two["start"], two["ok"], two["about"]) == ("", "", "", "")
    one, two = read_manifest("m.jsonl", b'{"path": "a", "speaker": 7, "tags": ["x"]}\n\n{"path": "b", "label": null, "start": 1}\n')
    assert one == {"path": "a", "speaker": "7", "tags": "['x']", "label": "", "start": ""}
    assert two == {"path": "b", "speaker": "", "tags": "", "label": "", "start": "1"}
    [one] = read_manifest("m.csv", "\ufeffpath, label\r\na.wav, NA\r\n".encode())
    assert one == {"path": "a.wav", "label": "NA"}
    [one] = read_manifest("m.jsonl", b'{"path": "a", "label": "half \\ud800"}')
    one["label"].encode()


VALUES = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5), st.lists(st.integers(), max_size=2))
COLUMNS = st.sampled_from(["path", "file_name", "label", "start", "x"])
BYTES = st.one_of(
    st.binary(max_size=80),
    st.text(alphabet='path,file_name\n\r"\0 a;', max_size=60).map(lambda text: ("path,label\n" + text).encode()),
    st.lists(st.one_of(st.dictionaries(COLUMNS, VALUES, max_size=4), VALUES), max_size=4).map(lambda rows: "\n".join(map(json.dumps, rows)).encode()),
)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(["m.csv", "m.jsonl", "m.parquet"]), BYTES)
def test_any_bytes_are_rows_or_one_line(name, data):
    rows_or_one_line(name, data)


TABLE = parquet({"path": ["a", "b"], "tags": [["x"], ["y", "z"]], "n": [1, 2]})


@settings(max_examples=200, deadline=None)
@example([(24, 128)], 0)
@given(st.lists(st.tuples(st.integers(0, len(TABLE) - 1), st.integers(0, 255)), max_size=4), st.integers(0, 30))
def test_a_damaged_parquet_is_rows_or_one_line(changes, cut):
    data = bytearray(TABLE)
    for at, value in changes:
        data[at] = value
    rows_or_one_line("m.parquet", bytes(data[: len(data) - max(0, cut - 20)]))


def rows_or_one_line(name: str, data: bytes) -> None:
    try:
        rows = list(read_manifest(name, data))
    except RequestError as error:
        assert str(error).startswith(name) and "\n" not in str(error)
        return
    assert all(isinstance(key, str) and isinstance(value, str) for row in rows for key, value in row.items())
    assert all({"path", "file_name"} & set(row) for row in rows)
    json.dumps(rows, ensure_ascii=False).encode()
