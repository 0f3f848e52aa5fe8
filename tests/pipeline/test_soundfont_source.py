"""A source may be played by a soundfont of the user's: what it names, what it is refused for, and a run out of two fonts."""

import os
import pathlib

import pandas as pd
import pytest
import yaml
from soundfonts import GENERAL_MIDI, soundfont, write

from pipeline.build import _identity
from pipeline.cli import main
from pipeline.config import Config
from pipeline.read_config import load
from pipeline.sources import Listing, list_sources

AUDIO = {"sample_rate": 8000, "seconds": 4.0}


def configuration(*sources: dict, **changes) -> Config:
    return Config(sources=list(sources), edits={"add": 1}, audio=AUDIO, **changes)


def listing_of(*sources: dict, **changes) -> Listing:
    return list_sources(configuration(*sources, **changes))


def written(folder: pathlib.Path, *sources: dict, **changes) -> str:
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump({"sources": list(sources), "edits": {"add": 4, "remove": 4}, "audio": AUDIO, **changes}))
    return str(path)


@pytest.fixture
def font(tmp_path) -> str:
    return write(tmp_path / "sine.sf2")


def test_what_a_source_names_is_played_by_its_font_and_goes_on_counting(font):
    found = listing_of({"kind": "soundfont", "pieces": 2, "sounds": 1}, {"kind": "soundfont", "pieces": 1, "sounds": 2, "font": font, "license": "CC0-1.0"})
    assert [(clip.uri, clip.source, clip.license) for clip in found.named] == [
        ("soundfont:0/piece-00000", 0, ""), ("soundfont:0/piece-00001", 0, ""), ("soundfont:0/sound-00000", 0, ""),
        (f"soundfont:0/piece-00002?font={font}", 1, "CC0-1.0"),
        (f"soundfont:0/sound-00001?font={font}", 1, "CC0-1.0"), (f"soundfont:0/sound-00002?font={font}", 1, "CC0-1.0")]
    assert list(found.files) == [clip.uri for clip in found.named] and all(file.seconds == pytest.approx(6.4) for file in found.files.values())


def test_another_font_makes_another_run(tmp_path, font):
    def identity() -> str:
        config = configuration({"kind": "soundfont", "pieces": 2, "font": font})
        return _identity(config, list_sources(config), None)

    first = identity()
    assert identity() == first
    stamp = os.stat(font).st_mtime_ns
    write(tmp_path / "sine.sf2", soundfont() + bytes(2))
    os.utime(font, ns=(stamp, stamp))
    longer = identity()
    os.utime(font, ns=(stamp + 10**9, stamp + 10**9))
    assert len({first, longer, identity()}) == 3


def test_a_fonts_path_is_relative_to_the_configuration(tmp_path, monkeypatch):
    (tmp_path / "fonts").mkdir()
    path = write(tmp_path / "fonts/a.sf2")
    monkeypatch.chdir("/")
    config = load(written(tmp_path, {"kind": "soundfont", "pieces": 1, "font": "fonts/a.sf2"}, {"kind": "soundfont", "pieces": 1}))
    assert [source.font for source in config.sources] == [path, None]
    monkeypatch.setenv("HOME", str(tmp_path / "fonts"))
    assert load(written(tmp_path, {"kind": "soundfont", "pieces": 1, "font": "~/a.sf2"})).sources[0].font == path


@pytest.mark.parametrize(("name", "data", "word"), [
    ("gone.sf2", None, "no such file"), ("", None, "no such file"), ("letter.sf2", b"This is a letter, and no soundfont.", "not a SoundFont"),
    ("cut.sf2", soundfont()[:9000], "cut short"), ("damaged.sf2", soundfont().replace(b"igen", b"ogen"), "damaged: it has no igen chunk"),
    ("lacks.sf2", soundfont({key: zones for key, zones in GENERAL_MIDI.items() if key != (0, 40)}), "it has no violin"),
    ("narrow.sf2", soundfont(GENERAL_MIDI | {(0, 40): [(55, 70)]}), "its violin (bank 0, program 40 from 0) has no sound at pitch 71"),
])
def test_a_font_that_cannot_be_used_is_told_in_one_line_before_any_work(tmp_path, capsys, name, data, word):
    if data is not None:
        write(tmp_path / name, data)
    code = main(["build", written(tmp_path, {"kind": "soundfont", "pieces": 1, "font": name}), "-o", str(tmp_path / "run")])
    said = capsys.readouterr().err
    assert code == 2 and said.startswith(f"audioedit: {os.path.normpath(tmp_path / name)}: ") and said.count("\n") == 1 and word in said
    assert not (tmp_path / "run").exists()


def test_a_run_of_two_fonts_has_pieces_by_both(tmp_path, font, audioedit_here):
    sources = [{"kind": "soundfont", "pieces": 3, "license": "one"}, {"kind": "soundfont", "pieces": 3, "font": "sine.sf2", "license": "two"}]
    config = written(tmp_path, *sources, edits={"extract": 8, "transfer": 6}, split={"train": 1.0, "val": 0.0, "test": 0.0}, filters={"rules": []})
    done = audioedit_here("build", config, "-o", tmp_path / "run")
    assert done.returncode == 0, done.stderr
    clips = pd.read_parquet(tmp_path / "run/clips/clips.parquet").set_index("clip_id")
    by = clips["uri"].str.endswith(f"?font={font}")
    assert clips["reason"].isna().all() and (clips["license"] == by.map({True: "two", False: "one"})).all()
    assert clips[by]["piece"].nunique() == clips[~by]["piece"].nunique() == 3 and not set(clips[by]["piece"]) & set(clips[~by]["piece"])
    assert audioedit_here("build", config, "-o", tmp_path / "run").returncode == 0
    write(tmp_path / "sine.sf2", soundfont() + bytes(2))
    changed = audioedit_here("build", config, "-o", tmp_path / "run")
    assert changed.returncode == 2 and "of other source files" in changed.stderr
