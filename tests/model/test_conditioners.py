"""The conditioners: what they take of any length, how they align a batch, and what they make of nothing."""

import math
import subprocess
import sys

import pytest

torch = pytest.importorskip("torch")

from manifests.errors import RequestError  # noqa: E402
from model.conditioners import AudioInputPrompt, Conditioners, OmniPrompt, SpeechPrompt, SyncFeature, log_mel, mel_filters  # noqa: E402
from model.sizes import AudioInputSizes, ConditionerSizes, OmniPromptSizes, SpeechPromptSizes, SyncFeatureSizes  # noqa: E402
from model.speech_text import Vocabulary, symbols  # noqa: E402

AUDIO = AudioInputSizes(sample_rate=8_000, samples=8_000, window=256, hop=64, mels=20, tokens=12)
SPEECH = SpeechPromptSizes(vocabulary=30, length=24, tokens=6, width=16, blocks=2)
ALL = ConditionerSizes(
    width=24, omni_prompt=OmniPromptSizes(width=32, length=10), speech_prompt=SPEECH, audio_input_prompt=AUDIO,
    sync_feature=SyncFeatureSizes(frames=14, width=20, tokens=5),
)


def randomised(module, seed=0):
    chance = torch.Generator().manual_seed(seed)
    for weight in module.requires_grad_(False).parameters():
        weight.copy_(torch.randn(weight.shape, generator=chance) / max(1, weight[0].numel()) ** 0.5)
    return module.eval()


def drawn(*shape, seed=1):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def test_mel_filters_are_those_of_torchaudio():
    torchaudio = pytest.importorskip("torchaudio")
    for sizes in (AudioInputSizes(), AUDIO):
        wanted = torchaudio.functional.melscale_fbanks(sizes.window // 2 + 1, 0.0, sizes.sample_rate / 2, sizes.mels, sizes.sample_rate)
        assert torch.allclose(mel_filters(sizes), wanted, atol=2e-5)


def test_the_spectrogram_is_the_logarithm_of_magnitudes_of_the_mean_of_channels():
    torchaudio = pytest.importorskip("torchaudio")
    audio = 0.1 * drawn(2, 2, 8_000)
    mel = torchaudio.transforms.MelSpectrogram(8_000, n_fft=256, hop_length=64, n_mels=20, power=1)
    found = log_mel(audio, AUDIO)
    assert found.shape == (2, 20, AUDIO.frames) and torch.allclose(found, mel(audio.mean(1)).clamp(min=1e-5).log(), atol=1e-3)


@pytest.mark.parametrize(("channels", "samples"), [(1, 1), (2, 7_999), (1, 8_001), (6, 20_000)])
def test_audio_of_any_length_is_padded_or_cut_to_the_window(channels, samples):
    prompt, audio = randomised(AudioInputPrompt(AUDIO, 24)), drawn(1, channels, samples)
    tokens, mask = prompt(audio)
    assert tokens.shape == (1, 12, 24) and mask.all() and mask.dtype == torch.bool
    same = torch.zeros(1, channels, 8_000)
    same[..., : min(samples, 8_000)] = audio[..., :8_000]
    assert torch.equal(prompt(same)[0], tokens)


def test_silence_and_no_audio_give_numbers_and_empty_audio_is_refused():
    prompt = randomised(AudioInputPrompt(AUDIO, 24))
    assert prompt(torch.zeros(1, 2, 500))[0].isfinite().all()
    assert log_mel(torch.zeros(1, 1, 1), AUDIO).unique().item() == pytest.approx(math.log(1e-5))
    for shape in ((1, 2, 0), (1, 0, 5), (2, 5)):
        with pytest.raises(ValueError, match="audio is"):
            prompt(torch.zeros(shape))


def test_what_is_hidden_of_a_spectrogram_is_silence_there_and_only_in_training_asked_for():
    prompt, audio = randomised(AudioInputPrompt(AUDIO, 24)), drawn(2, 1, 8_000)
    hidden = torch.zeros(2, AUDIO.frames, dtype=torch.bool)
    hidden[1] = True
    found = prompt(audio, hidden)[0]
    assert torch.equal(found[0], prompt(audio)[0][0]) and torch.allclose(found[1], prompt(torch.zeros(1, 1, 1))[0][0], atol=1e-5)
    assert torch.equal(prompt.train()(audio)[0], prompt.eval()(audio)[0])


def test_states_of_the_instruction_come_first_wherever_their_padding_stood():
    prompt, states = randomised(OmniPrompt(OmniPromptSizes(width=32, length=10), 24)), drawn(1, 4, 32)
    padded = torch.cat([drawn(1, 3, 32, seed=9), states], 1)
    left, mask = prompt(padded, torch.tensor([[False] * 3 + [True] * 4]))
    alone, _ = prompt(states, torch.ones(1, 4, dtype=torch.bool))
    assert left.shape == (1, 10, 24) and mask[0].tolist() == [True] * 4 + [False] * 6 and torch.equal(left, alone)
    scaled, _ = prompt(7 * states, torch.ones(1, 4, dtype=torch.bool))
    assert torch.allclose(scaled, alone, atol=1e-4)  # normed


def test_a_longer_instruction_is_resampled_in_time():
    prompt = randomised(OmniPrompt(OmniPromptSizes(width=32, length=10), 24))
    states = torch.ones(1, 25, 32) * torch.linspace(1, 3, 32)
    tokens, mask = prompt(states, torch.ones(1, 25, dtype=torch.bool))
    assert mask.all() and torch.allclose(tokens, tokens[:, :1].expand_as(tokens), atol=1e-5)
    fresh = OmniPrompt(OmniPromptSizes(width=32, length=10), 24)
    assert not fresh.project.weight.any() and not fresh.project.bias.any()


def test_pooled_states_are_uncorrelated_and_of_unit_variance_over_what_they_were_fitted_to():
    prompt = OmniPrompt(OmniPromptSizes(width=32, length=10, pooled=6), 24)
    common, told = 5 * drawn(1, 1, 32), drawn(200, 1, 4) @ drawn(4, 32, seed=2)  # what all say alike, and four ways in which they differ
    hidden, mask = common + 0.1 * told + 0.01 * drawn(200, 7, 32, seed=3), torch.ones(200, 7, dtype=torch.bool)
    prompt.fit(prompt.mean(hidden, mask))
    pooled = prompt.pool(hidden, mask).double()
    assert pooled.shape == (200, 6) and pooled.mean(dim=0).abs().max() < 1e-2
    covariance = pooled[:, :4].T @ pooled[:, :4] / len(pooled)
    assert torch.allclose(covariance, torch.eye(4, dtype=torch.float64), atol=1e-2)
    assert 0 < pooled[:, 4:].square().mean() < 1  # far fainter than the strongest: not made as strong
    padded, counts = torch.cat([hidden, drawn(200, 3, 32, seed=4)], dim=1), torch.cat([mask, torch.zeros(200, 3, dtype=torch.bool)], dim=1)
    assert torch.allclose(prompt.pool(padded, counts).double(), pooled, atol=1e-3)


def test_pooling_is_of_what_is_stored_and_off_by_default():
    hidden, mask = drawn(5, 7, 32), torch.ones(5, 7, dtype=torch.bool)
    prompt = OmniPrompt(OmniPromptSizes(width=32, length=10, pooled=3), 24)
    prompt.fit(prompt.mean(hidden, mask))
    assert torch.equal(prompt.pool(hidden, mask), prompt.pool(hidden.bfloat16().float(), mask))
    same = prompt.mean(hidden[:1], mask[:1]).expand(4, -1)
    prompt.fit(same)  # one instruction alone
    assert prompt.pool(hidden[:1], mask[:1]).abs().max() < 1e-3
    assert OmniPrompt(OmniPromptSizes(width=32, length=10), 24).pool(hidden, mask) is None
    with pytest.raises(ValueError, match="0 to 32 components"):
        OmniPromptSizes(width=32, pooled=33)


def test_speech_does_not_depend_on_the_rest_of_the_batch():
    prompt = randomised(SpeechPrompt(SPEECH, 24))
    texts = [torch.tensor([3, 4, 5]), None, torch.arange(20), torch.arange(0)]
    tokens, mask = prompt(texts)
    assert tokens.shape == (4, 6, 24) and mask.all()
    for i, text in enumerate(texts):
        assert torch.allclose(prompt([text])[0][0], tokens[i], atol=1e-5)
    assert torch.allclose(tokens.square().mean(-1), torch.ones(4, 6), atol=1e-3)


def test_the_published_model_norms_the_empty_block_only_beside_speech():
    prompt = randomised(SpeechPrompt(SpeechPromptSizes(vocabulary=30, length=24, tokens=6, width=16, blocks=2, norm_empty=False), 24))
    assert torch.equal(prompt([None, None])[0], prompt.empty.expand(2, -1, -1))
    beside = prompt([torch.tensor([1]), None])[0][1]
    assert not torch.allclose(beside, prompt.empty[0], atol=1e-3) and torch.allclose(beside.square().mean(-1), torch.ones(6), atol=1e-3)


@pytest.mark.parametrize("norm_empty", [True, False])
def test_in_training_a_sample_is_alone_and_every_weight_has_a_gradient_though_none_speaks(norm_empty):
    sizes = SpeechPromptSizes(vocabulary=30, length=24, tokens=6, width=16, blocks=2, norm_empty=norm_empty)
    prompt = randomised(SpeechPrompt(sizes, 24)).train().requires_grad_(True)
    silent, text = prompt([None])[0], torch.tensor([1, 2])
    assert torch.equal(prompt([text, None])[0][1], silent[0]) and torch.equal(prompt.eval()([None])[0], silent)
    prompt.train()([None, None])[0].sum().backward()
    assert all(weight.grad is not None for weight in prompt.parameters())
    assert all((weight.grad == 0).all() for name, weight in prompt.named_parameters() if name != "empty")


def test_text_over_the_places_is_cut():
    prompt, long = randomised(SpeechPrompt(SPEECH, 24)), torch.arange(40) % 30
    assert torch.equal(prompt([long])[0], prompt([long[:24]])[0]) and not torch.equal(prompt([long])[0], prompt([long[:23]])[0])


def test_low_level_is_video_then_source_and_context_instruction_then_speech():
    all_of_them, hidden, mask = randomised(Conditioners(ALL)), drawn(2, 4, 32), torch.ones(2, 4, dtype=torch.bool)
    audio, sync, speech = drawn(2, 2, 8_000), drawn(2, 14, 20), [torch.tensor([1, 2]), None]
    made = all_of_them(hidden, mask, speech, audio, sync)
    assert made.context.shape == (2, 16, 24) and made.low_level.shape == (2, 17, 24)
    assert made.context_mask.sum(1).tolist() == [10, 10]
    assert torch.equal(made.low_level[:, :5], all_of_them.sync_feature(sync)[0])
    assert torch.equal(made.low_level[:, 5:], all_of_them.audio_input_prompt(audio)[0])
    assert torch.equal(made.context[:, 10:], all_of_them.speech_prompt(speech)[0])
    empty = all_of_them(hidden, mask)
    given = all_of_them(hidden, mask, [None, None], torch.zeros(2, 1, 8_000), torch.zeros(2, 14, 20))
    assert torch.equal(empty.context, given.context) and torch.equal(empty.low_level, given.low_level)


def test_a_model_without_a_conditioner_refuses_what_it_is_for():
    bare = randomised(Conditioners(ConditionerSizes(width=24, omni_prompt=OmniPromptSizes(width=32, length=10))))
    hidden, mask = drawn(1, 4, 32), torch.ones(1, 4, dtype=torch.bool)
    assert bare(hidden, mask).low_level is None and bare(hidden, mask).context.shape == (1, 10, 24)
    for name, value in (("sync", drawn(1, 14, 20)), ("audio", drawn(1, 1, 9)), ("speech", [None])):
        with pytest.raises(ValueError, match="this model has no"):
            bare(hidden, mask, **{name: value})
    with pytest.raises(ValueError, match=r"video features are \(batch, 14, 20\), got \(1, 13, 20\)"):
        SyncFeature(ALL.sync_feature, 24)(torch.zeros(1, 13, 20))
    with pytest.raises(ValueError, match=r"MLLM states .* got \(1, 4, 31\)"):
        bare(hidden[..., :31], mask)


@pytest.mark.parametrize(("text", "wanted"), [
    ("Hello, world.", "Hello, world."),
    ("a;b “c” ‘d’", "a,b \"c\" 'd'"),
    ("x(ok)", "x( ok)"),
    ("say:go 'go", "say:go 'go"),
    ("", ""),
    ("café", "café"),
])
def test_latin_text_is_its_characters(text, wanted):
    assert "".join(symbols(text)) == wanted


def test_chinese_is_syllables_with_tones():
    assert symbols("你好，世界") == [" ", "ni2", " ", "hao3", "，", " ", "shi4", " ", "jie4"]
    assert symbols("我用GPU") == [" ", "wo3", " ", "yong4", " ", "G", "P", "U"]


def test_the_vocabulary_numbers_lines_and_zero_is_unknown(tmp_path):
    path = tmp_path / "vocab.txt"
    path.write_text(" \na\nb\nni2", encoding="utf-8")
    vocabulary = Vocabulary(path)
    assert len(vocabulary) == 4 and vocabulary.ids("ba z你好").tolist() == [2, 1, 0, 0, 0, 3, 0, 0]
    vocabulary.save(tmp_path / "again.txt")
    assert Vocabulary(tmp_path / "again.txt").lines == vocabulary.lines
    for wrong, told in (("a\na\n", "twice"), ("", "empty")):
        path.write_text(wrong)
        with pytest.raises(RequestError, match=told):
            Vocabulary(path)
    path.write_bytes(b"\xff\xfe\n")
    with pytest.raises(RequestError, match="vocab.txt"):
        Vocabulary(path)
    with pytest.raises(RequestError, match="none.txt"):
        Vocabulary(tmp_path / "none.txt")


def test_splitting_says_nothing_and_leaves_logging_alone():
    code = """if True:
        import logging, jieba
        before = jieba.default_logger.level, logging.root.level
        from model.speech_text import symbols
        symbols("你好 there")
        assert (jieba.default_logger.level, logging.root.level) == before"""
    told = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, cwd=__file__.rpartition("/tests/")[0])
    assert (told.returncode, told.stdout, told.stderr) == (0, "", "")
