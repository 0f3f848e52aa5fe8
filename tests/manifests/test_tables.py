"""Records go to parquet and come back as they were."""

import io
import math
from dataclasses import dataclass, field

import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from manifests.clip import Clip
from manifests.storage import Storage
from manifests.tables import concat, read_table, records_of, schema_of, table_of, to_parquet, write_table

text = st.text(st.characters(codec="utf-8"), max_size=8)
number = st.floats(allow_nan=False)
clips = st.builds(
    Clip, uri=text, start=number, end=number, source=st.integers(0, 9), domain=text, tier=text, label=text, lufs=st.none() | number,
    reason=st.none() | text, variant=st.integers(0, 1), gain_db=number, offset=st.integers(0, 2**40), piece=text)


@settings(max_examples=40, deadline=None)
@given(st.lists(clips, max_size=4))
def test_clips_go_to_parquet_and_come_back(found):
    data = to_parquet(table_of(found, Clip))
    assert records_of(pa.parquet.read_table(io.BytesIO(data)), Clip) == found


@dataclass
class Row:
    name: str
    count: int
    level: float | None = None
    kept: bool = False
    words: list[str] = field(default_factory=list)


def test_columns_have_the_types_of_the_fields():
    expected = [("name", pa.string()), ("count", pa.int64()), ("level", pa.float64()), ("kept", pa.bool_()), ("words", pa.list_(pa.string()))]
    assert schema_of(Row) == pa.schema(expected)


def test_null_is_null_and_not_zero_in_plain_pandas(tmp_path):
    storage = Storage(str(tmp_path))
    write_table(storage, "quality/rows.parquet", table_of([Row("a", 1), Row("b", 2, -3.0, True, ["x"])], Row))
    frame = pd.read_parquet(tmp_path / "quality" / "rows.parquet")
    assert math.isnan(frame["level"][0]) and frame["level"][1] == -3.0
    assert frame["words"][1].tolist() == ["x"]
    assert storage.names("quality") == ["rows.parquet"]


def test_some_columns_can_be_read_alone(tmp_path):
    storage = Storage(str(tmp_path))
    write_table(storage, "rows.parquet", table_of([Row("a", 1)], Row))
    assert read_table(storage, "rows.parquet", ["count"]).to_pylist() == [{"count": 1}]


def test_tables_are_put_together_and_none_is_an_empty_one():
    one, other = table_of([Row("a", 1)], Row), table_of([Row("b", 2)], Row)
    assert [row.name for row in records_of(concat(iter([one, other]), schema_of(Row)), Row)] == ["a", "b"]
    empty = concat([], schema_of(Row))
    assert empty.num_rows == 0 and empty.schema == schema_of(Row)


def test_a_wrong_type_is_an_error():
    with pytest.raises((pa.ArrowInvalid, pa.ArrowTypeError)):
        table_of([Row("a", "many")], Row)


def test_the_same_rows_are_the_same_bytes():
    rows = [Row(str(n), n, n / 3) for n in range(100)]
    assert to_parquet(table_of(rows, Row)) == to_parquet(table_of(rows, Row))
