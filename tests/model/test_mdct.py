"""The lapped transform gives every sample back, keeps energy, and hands latents of about unit variance."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from model.mdct import Mdct, band_scale  # noqa: E402


def noise(*shape: int, seed: int = 0):
    return torch.from_numpy(np.random.default_rng(seed).uniform(-0.5, 0.5, shape).astype(np.float32))


def decibels(found, wanted) -> float:
    return float(20 * torch.log10((found - wanted).abs().max() / wanted.abs().max()))


@pytest.mark.parametrize(("hop", "channels", "samples"), [
    (512, 1, 1), (512, 1, 511), (512, 2, 512), (512, 1, 513), (512, 2, 44_100), (256, 1, 10_007), (2048, 2, 20_000), (2, 1, 7), (1024, 3, 5_000),
])
def test_every_sample_comes_back_at_any_length(hop, channels, samples):
    codec, audio = Mdct(hop, channels), noise(2, channels, samples)
    latents = codec.encode(audio)
    assert latents.shape == (2, channels * hop, -(-samples // hop)) and codec.latent_channels == channels * hop
    assert latents.dtype == torch.float32
    assert decibels(codec.decode(latents)[..., :samples], audio) < -100


def test_energy_in_is_energy_out_and_the_latents_come_back_too():
    codec, audio = Mdct(64), noise(1, 1, 64 * 20)
    coefficients = codec.encode(audio) * codec.scale[None, :, None]
    assert torch.isclose(coefficients.square().sum(), audio.square().sum(), rtol=1e-5)
    latents = torch.from_numpy(np.random.default_rng(1).standard_normal((1, 64, 20)).astype(np.float32))
    assert decibels(codec.encode(codec.decode(latents)), latents) < -90


def test_it_is_the_mdct_with_the_sine_window():
    """Of the inner blocks, by the definition: a sum over two blocks of window times cosine, of time read backwards."""
    hop, audio = 16, noise(1, 1, 16 * 5, seed=3)
    codec = Mdct(hop)
    n, k = np.arange(2 * hop), np.arange(hop)[:, None]
    kernel = np.sin(np.pi * (n + 0.5) / 2 / hop) * np.sqrt(2 / hop) * np.cos(np.pi / hop * (n + 0.5 + hop / 2) * (k + 0.5))
    found = (codec.encode(audio) * codec.scale[None, :, None])[0]
    for frame in (1, 2, 3):
        start = frame * hop - hop // 2
        assert np.allclose(np.abs(kernel @ audio[0, 0, start : start + 2 * hop].numpy()[::-1]), found[:, frame].abs(), atol=1e-5)


def test_a_tone_stays_in_few_coefficients():
    codec = Mdct(512, sample_rate=44_100)
    tone = torch.sin(2 * torch.pi * 1_000 / 44_100 * torch.arange(44_100))[None, None]
    energy = (codec.encode(tone) * codec.scale[None, :, None])[0, :, 2:-2].square().sum(1)
    assert energy.topk(6).values.sum() > 0.995 * energy.sum() and abs(int(energy.argmax()) - 1_000 / 44_100 * 1024) < 1.5


def test_a_recording_of_the_stated_spectrum_has_unit_variance_in_every_band():
    codec = Mdct(512, sample_rate=44_100)
    f = np.fft.rfftfreq(2**19, 1 / 44_100)
    power = 1 / ((1 + f / 100) * (1 + (f / 4_000) ** 2))
    shaped = np.fft.irfft(np.fft.rfft(np.random.default_rng(0).standard_normal(2**19)) * np.sqrt(power))
    shaped *= 0.06 / np.sqrt(np.mean(shaped**2))
    variance = codec.encode(torch.from_numpy(shaped.astype(np.float32))[None, None])[0].var(1)
    assert 0.7 < variance.min() and variance.max() < 1.4 and abs(variance.mean() - 1) < 0.03
    assert torch.allclose(band_scale(512, 44_100).square().mean(), torch.tensor(0.06**2))


def test_silence_is_silence():
    codec = Mdct(512)
    assert not codec.encode(torch.zeros(1, 1, 3_000)).any() and not codec.decode(torch.zeros(1, 512, 6)).any()


def test_it_has_no_weights_and_lets_gradients_through():
    codec = Mdct(32)
    assert not list(codec.parameters()) and not codec.state_dict()
    latents = torch.zeros(1, 32, 4, requires_grad=True)
    target = noise(1, 1, 128)
    (codec.decode(latents) - target).square().sum().backward()
    wanted = -2 * codec.encode(target) * codec.scale[None, :, None] ** 2
    assert torch.allclose(latents.grad, wanted, atol=1e-6)


def test_audio_in_half_precision_is_transformed_in_full():
    codec, audio = Mdct(512), noise(1, 1, 4_096).bfloat16()
    assert decibels(codec.decode(codec.encode(audio)), audio.float()) < -100


@pytest.mark.parametrize("hop", [0, 1, 3, 500])
def test_a_hop_that_is_no_power_of_two_is_refused(hop):
    with pytest.raises(ValueError, match=f"hop is {hop}"):
        Mdct(hop)


def test_other_shapes_are_told():
    with pytest.raises(ValueError, match=r"got \(1, 2, 100\)"):
        Mdct(512, 1).encode(torch.zeros(1, 2, 100))
    with pytest.raises(ValueError, match=r"got \(1, 1, 0\)"):
        Mdct(512, 1).encode(torch.zeros(1, 1, 0))
    with pytest.raises(ValueError, match=r"got \(1, 64, 3\)"):
        Mdct(512, 1).decode(torch.zeros(1, 64, 3))
