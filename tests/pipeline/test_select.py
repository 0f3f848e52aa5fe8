"""Pairs picked by what their rows say."""

import shutil

import pandas as pd
import pytest

from manifests.errors import RequestError
from pipeline.select import select, selected


def test_the_pairs_are_those_that_are_kept_and_of_which_the_expression_holds(small_run, tmp_path):
    rows = pd.read_parquet(small_run / "quality/pairs.parquet")
    wanted = rows[rows.kept & (rows.edit == "remove") & (rows.snr_db > 5)]
    assert 0 < len(wanted) < rows.kept.sum()
    assert select(str(small_run), "edit == 'remove' and snr_db > 5", str(tmp_path / "keys.parquet")) == (len(wanted), 0)
    assert selected(str(tmp_path / "keys.parquet")) == set(wanted.pair_id)


def test_pairs_of_tier_demo_are_left_out_of_an_expression_that_does_not_speak_of_it(small_run, tmp_path):
    shutil.copytree(small_run, tmp_path / "run")
    rows = pd.read_parquet(small_run / "quality/pairs.parquet")
    rows.loc[rows.edit == "remove", "tier"] = "demo"
    rows.to_parquet(tmp_path / "run/quality/pairs.parquet")
    kept = rows[rows.kept]
    demo = kept[kept.tier == "demo"]
    assert select(str(tmp_path / "run"), "snr_db > -100", str(tmp_path / "some.parquet")) == (len(kept) - len(demo), len(demo))
    assert select(str(tmp_path / "run"), "tier == 'demo' or tier != 'demo'", str(tmp_path / "all.parquet")) == (len(kept), 0)
    assert selected(str(tmp_path / "all.parquet")) - selected(str(tmp_path / "some.parquet")) == set(demo.pair_id)
    with pytest.raises(RequestError, match=f"; {len(demo)} of tier demo are left out"):
        select(str(tmp_path / "run"), "edit == 'remove'", str(tmp_path / "none.parquet"))


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
