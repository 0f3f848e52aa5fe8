"""Histograms: bars as high as counts, every value in one, and the outline of what was asked for."""

import json
import re

import numpy as np
import pytest

from pipeline.histogram import HEIGHT, WIDTH, histogram


def test_bars_are_as_high_as_counts_and_stand_on_each_other():
    drawn = histogram({"kept": np.repeat([0.05, 3.95], [30, 10]), "rejected": np.array([0.05] * 10 + [np.nan])}, stacked=True)
    assert drawn["most"] == 40
    heights = {name: [tuple(map(float, bar)) for bar in re.findall(r"M[\d.]+ ([\d.]+)V([\d.]+)", path)] for name, path in drawn["paths"].items()}
    assert heights["kept"] == [(HEIGHT, HEIGHT / 4), (HEIGHT, 0.75 * HEIGHT)]
    assert heights["rejected"] == [(HEIGHT / 4, 0.0)]
    assert [text for text, _ in drawn["ticks"]] == ["0", "1", "2", "3", "4"]


@pytest.mark.parametrize("values, found", [([], None), ([np.nan], None), ([2.5, 2.5, np.nan], {"only": 2.5})])
def test_a_histogram_of_nothing_or_of_one_value(values, found):
    assert histogram({"kept": np.array(values, float)}, stacked=True) == found


@pytest.mark.parametrize("low, high", [(-1e-3, 1e-3), (0, 1), (-70, 3), (1, 1e7), (-0.1, 123.4)])
def test_a_histogram_counts_every_value(low, high):
    values = np.linspace(low, high, 1000)
    drawn = histogram({"kept": values}, stacked=True)
    tops = [float(top) for top in re.findall(r"V([\d.]+)H", drawn["paths"]["kept"])]
    assert sum(HEIGHT - top for top in tops) / HEIGHT * drawn["most"] == pytest.approx(1000, rel=0.02)
    assert drawn["low"] <= low and drawn["high"] >= high
    assert json.dumps(drawn)


def outlined(path: str) -> dict[float, float]:
    """The height of an outline, 0 to 1, at the left of each of its steps."""
    at, found = 0.0, {}
    for command, number in re.findall(r"([MVH])([\d.]+)", path):
        if command == "V":
            found[at] = 1 - float(number) / HEIGHT
        else:
            at = float(number)
    return found


def test_what_was_asked_for_is_shared_out_over_as_many_values_as_there_are():
    asked = np.array([1, 2, 3, 4]), np.array([0.25, 0.5, 0.25, 0.0])
    drawn = histogram({"kept": np.repeat([1.0, 2.0], [20, 10]), "rejected": np.repeat(2.0, 10)}, stacked=True, asked=asked)
    assert (drawn["low"], drawn["high"], drawn["most"]) == (1.0, 3.0, 20.0)  # 4 was not asked for
    tops = outlined(drawn["asked"])
    assert max(tops.values()) == 1.0 and tops[0.0] == pytest.approx(0.5, abs=0.01) and tops[WIDTH / 2] == 1.0


def test_an_outline_that_is_even_is_flat_whatever_was_made():
    drawn = histogram({"kept": np.linspace(-27, -26, 100)}, stacked=True, asked=(np.linspace(-28, -18, 30_001), np.full(30_001, 1 / 30_001)))
    assert drawn["low"] <= -28 and drawn["high"] >= -18
    tops = [top for top in outlined(drawn["asked"]).values() if top]
    assert max(tops[1:-1]) - min(tops[1:-1]) < 0.01 * max(tops)  # the outermost bars reach over the ends


def test_without_anything_asked_for_there_is_no_outline():
    assert histogram({"kept": np.arange(9.0)}, stacked=True)["asked"] == ""
