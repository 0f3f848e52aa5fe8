"""The engine that the README shows works as it says."""

import pathlib
import re

import numpy as np

from manifests.clip import Clip
from stages.engines.registry import load
from stages.ingest import Gates
from stages.separate import separate

README = (pathlib.Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
RATE = 16_000


def test_the_separator_that_the_readme_shows_takes_recordings_apart(tmp_path, monkeypatch):
    (shown,) = (code for code in re.findall(r"```python\n(.*?)```", README, re.DOTALL) if "my_engines.py" in code)
    assert len(shown.splitlines()) <= 22
    (tmp_path / "my_engines.py").write_text(shown)
    monkeypatch.syspath_prepend(tmp_path)
    engine = load("separator", {"engine": "my_engines:Crossover", "hertz": 400})
    time = np.arange(2 * RATE) / RATE
    low, high = (0.2 * np.sin(2 * np.pi * pitch * time)[None].astype(np.float32) for pitch in (80, 2_000))
    (found,) = separate([(Clip("song.wav", 0.0, 2.0, 0, "music", "real"), low + high)], RATE, engine, Gates())
    assert [(clip.label, clip.tier) for clip, _ in found] == [("bass", "demo"), ("", "demo")]
    assert np.abs(found[0][1] - low)[:, RATE // 4 : -RATE // 4].max() < 0.01 and found[0][0].separation_error_db == -120
