"""Windows cover a recording, share what they should, and are faded into each other."""

import numpy as np
import pytest

pytest.importorskip("torch")

from tiny_model import noise  # noqa: E402

from model import windows  # noqa: E402


def test_what_differs_between_windows_is_faded_without_a_step():
    begins = windows.starts(100_000, 16_000, 64)
    pieces = [np.full((1, 16_000), place % 2, np.float32) for place in range(len(begins))]
    whole = windows.join(pieces, begins, 100_000)
    assert whole.shape == (1, 100_000) and whole.min() == 0 and whole.max() == 1 and np.abs(np.diff(whole)).max() < 2e-3
    assert begins[-1] + 16_000 >= 100_000 and all(begin % 64 == 0 for begin in begins)


@pytest.mark.parametrize("samples", [441_001, 500_000, 441_000 * 9 + 5])
def test_a_window_need_not_be_of_whole_latent_frames(samples):
    """As the published model's: 10 s, in frames of 2,048 samples."""
    begins = windows.starts(samples, 441_000, 2_048)
    assert begins[0] == 0 and samples <= begins[-1] + 441_000 < samples + 2_048 and all(begin % 2_048 == 0 for begin in begins)
    assert all(begin + 441_000 - after >= 441_000 // 8 for begin, after in zip(begins, begins[1:]))
    audio = noise(samples)
    assert np.array_equal(windows.join((windows.cut(audio, begin, 441_000) for begin in begins), begins, samples), audio)


@pytest.mark.parametrize("samples", [1, 63, 64, 16_000, 16_001, 16_064, 29_999, 30_001, 160_000])
def test_windows_cover_a_recording_and_share_an_eighth(samples):
    begins = windows.starts(samples, 16_000, 64)
    shared = [begin + 16_000 - after for begin, after in zip(begins, begins[1:])]
    assert begins[0] == 0 and samples <= begins[-1] + 16_000 and all(2_000 <= one < 16_000 for one in shared)
    assert len(begins) == 1 or begins[-1] + 16_000 < samples + 64
    audio = noise(samples)
    assert np.array_equal(windows.join((windows.cut(audio, begin, 16_000) for begin in begins), begins, samples), audio)
