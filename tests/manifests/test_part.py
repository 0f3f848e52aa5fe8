"""A part is named by its kind and number, and its record by its name."""

from manifests.part import Part


def test_names():
    part = Part("pairs", 12, [])
    assert part.name == "pairs-00012"
    assert part.record == "parts/pairs-00012.json"


def test_parts_do_not_share_what_they_skip():
    one, other = Part("clips", 0, []), Part("clips", 1, [])
    one.skip["a"] = "it kills"
    assert other.skip == {}
