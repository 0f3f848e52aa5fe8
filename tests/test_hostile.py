"""The hostile benchmark, small: whatever lies in a folder, the run goes on and every file has its row."""

import pathlib
import re
import subprocess
import sys

import pandas as pd

ROOT = pathlib.Path(__file__).parents[1]
NONE = ("crashes", "files without a row", "windows and rows without a row", "rows without a reason", "files given up, not the simulated")


def test_a_build_over_hostile_files_and_manifests_loses_nothing(tmp_path):
    done = subprocess.run([sys.executable, ROOT / "benchmarks/hostile.py", "--files", "60", "--seed", "5", "--keep", tmp_path], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]
    table = dict(re.findall(r"^(\S.*?) {2,}(\S+)$", done.stdout, re.MULTILINE))
    assert int(table["files"]) == 60 and [table[name] for name in NONE] == ["0"] * len(NONE)
    files = pd.read_parquet(tmp_path / "run/quality/sources.parquet")
    reasons = dict(zip(files["uri"].str.rpartition("/")[2], files["reason"]))
    assert reasons["without-end.wav"] == "not decoded after 8 s: given up"
    assert "process died" in reasons["header-crashes.wav"] and "process died" in reasons["samples-crash.wav"]
    page = (tmp_path / "run/report/index.html").read_text(encoding="utf-8")
    assert "<script>alert" not in page
