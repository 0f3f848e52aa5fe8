"""Pairs picked by what their rows say."""

import pandas as pd
import pytest

from manifests.errors import RequestError
from pipeline.select import select, selected


def test_the_pairs_are_those_that_are_kept_and_of_which_the_expression_holds(small_run, tmp_path):
    rows = pd.read_parquet(small_run / "quality/pairs.parquet")
    wanted = rows[rows.kept & (rows.edit == "remove") & (rows.snr_db > 5)]
    assert 0 < len(wanted) < rows.kept.sum()
    assert select(str(small_run), "edit == 'remove' and snr_db > 5", str(tmp_path / "keys.parquet")) == len(wanted)
    assert selected(str(tmp_path / "keys.parquet")) == set(wanted.pair_id)


@pytest.mark.parametrize(("where", "fault"), [
    ("edit ==", "invalid syntax"), ("nothing > 1", "columns are pair_id"), ("edit == 'none'", "holds for none"),
    ("snr_db", "--where snr_db"), ("1 + 1", "--where 1"), ("__import__('os').getcwd()", "--where"),
])
def test_an_expression_that_says_nothing_is_one_line(small_run, tmp_path, where, fault):
    with pytest.raises(RequestError, match=fault) as caught:
        select(str(small_run), where, str(tmp_path / "keys.parquet"))
    assert "\n" not in str(caught.value) and not (tmp_path / "keys.parquet").exists()


def test_nothing_is_overwritten_and_a_file_of_something_else_is_refused(small_run, tmp_path):
    (tmp_path / "keys.parquet").write_bytes(b"mine")
    with pytest.raises(RequestError, match="exists already"):
        select(str(small_run), "kept", str(tmp_path / "keys.parquet"))
    for path in ("keys.parquet", "none.parquet"):
        with pytest.raises(RequestError, match="column pair_id"):
            selected(str(tmp_path / path))
