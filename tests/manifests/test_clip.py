"""A clip is a row: every column can be stored, and what was not measured is null."""

from dataclasses import asdict, fields

from manifests.clip import ROLES, Clip
from manifests.tables import schema_of


def test_what_is_not_known_is_empty_and_what_was_not_measured_is_null():
    clip = Clip("a.wav", 0.0, 1.0, source=0, domain="sound", tier="synthetic")
    row = asdict(clip)
    measured = ("lufs", "peak_dbfs", "noise_floor_db", "active_ratio", "dc_offset", "clip_ratio", "bandwidth_hz", "leak_db", "separation_error_db",
                "alignment_confidence", "chars_per_second", "speaker_overlap", "clap_label", "reason")
    assert {name for name, value in row.items() if value is None} == set(measured)
    assert clip.role == clip.label == clip.license == clip.words == clip.transcribed_by == ""


def test_every_field_has_a_column():
    assert schema_of(Clip).names == [field.name for field in fields(Clip)]


def test_the_roles_a_manifest_may_give_come_first():
    assert ROLES[:3] == ("event", "background", "either")
