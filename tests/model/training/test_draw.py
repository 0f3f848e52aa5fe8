"""Windows of samples: aligned, repeatable, whatever is broken."""

import io
import tarfile
from pathlib import Path

import numpy as np
import pytest
from made_run import make_run, pair
from tiny_model import sizes

from manifests.audio import encode_flac
from manifests.errors import Rejected, RequestError
from model.training.config import TrainConfig
from model.training.draw import Draws, collate
from model.training.order import Order
from model.training.shards import Sample, Shards
from stages.shard import shard

OF = sizes("none")


def draws(run: str, of=OF, **changes) -> Draws:
    shards = Shards([run], "train")
    return Draws(shards, Order(np.ones(len(shards)), 0), of, TrainConfig(steps=1, **changes))


def same(one, other) -> bool:
    return one.keys == other.keys and one.prompts == other.prompts and all(
        (a is None and b is None) or (a == b).all() for a, b in zip(one, other) if not isinstance(a, list))


def test_a_draw_depends_on_seed_and_position_alone(tmp_path):
    run = make_run(tmp_path / "run")
    one, other = draws(run), draws(run)
    held = [one[position] for position in range(20)]
    assert all(same(held[position], other[position]) for position in reversed(range(20)))
    assert not same(held[3], draws(run, seed=1)[3])
    assert len({batch.prompts[0] for batch in held}) > 8  # both wordings come
    assert len({float(batch.t) for batch in held}) == 20


@pytest.mark.parametrize("rate", [16_000, 44_100])
def test_half_the_windows_of_a_long_sample_hold_the_edit_and_the_rest_lie_anywhere(tmp_path, rate):
    made, window = draws(make_run(tmp_path / "run", rate=rate, seconds=6.0)), OF.latent_frames * OF.downsampling
    held, begins = 0, set()
    for position in range(60):
        batch = made[position]
        assert batch.source.shape == batch.target.shape == (1, 1, window)
        tone = batch.target if batch.edits[0] == "extract" else batch.target - batch.source
        held += bool((tone.abs() > 0.1).float().mean() > 0.7)
        begins.add(float(batch.source[0, 0, 0]))
    assert 22 <= held <= 50 and len(begins) > 40


def test_the_loss_weighs_the_span_and_its_mean_stays_one(tmp_path):
    [weight] = draws(make_run(tmp_path / "run"), span_weight=4.0)[0].weight
    frames = len(weight)
    assert weight.mean().item() == pytest.approx(1)
    assert (weight[frames // 3 + 2 : 2 * frames // 3 - 8] / weight[0]).tolist() == pytest.approx([4.0] * (2 * frames // 3 - 8 - frames // 3 - 2))


def speech(cut: float) -> Sample:
    """A sentence of 4 s, of whose target a word is gone from `cut` on."""
    made = pair("s", "train", 0, 16_000, 4.0, 1, 0)
    made.edit, made.edit_spans = "speech_delete", [[cut, cut]]
    made.target = np.delete(made.source, slice(round(cut * 16_000), round((cut + 1) * 16_000)), axis=1)
    return Sample("s", made.sample(), {f"{side}.flac": encode_flac(getattr(made, side), 16_000) for side in ("source", "target")})


def test_sides_that_run_apart_are_the_same_before_the_edit(tmp_path):
    made, cuts = draws(make_run(tmp_path / "run")), []
    for position in range(12):
        batch = made.draw(speech(2.5), position, [])
        differ = np.flatnonzero((batch.source != batch.target)[0, 0].numpy())
        if len(differ):
            cuts.append(differ[0])
    assert len(cuts) >= 4 and min(cuts) > 0


def test_a_short_sample_is_padded_and_a_mono_one_serves_a_stereo_model(tmp_path):
    batch = draws(make_run(tmp_path / "run", seconds=0.3), sizes("none", channels=2))[0]
    assert batch.source.shape[1] == 2 and (batch.source[:, 0] == batch.source[:, 1]).all()
    assert not batch.source[..., 4800:].any() and batch.source[..., :4800].any()


def test_stereo_data_for_a_mono_model_is_refused_in_a_line(tmp_path):
    with pytest.raises(RequestError, match="2 channels .* the model 1"):
        draws(make_run(tmp_path / "run", channels=2))[0]


def test_for_a_broken_sample_the_next_stands_and_it_is_told(tmp_path):
    run = make_run(tmp_path / "run", train=6, shard_of=6)
    tar = Path(run) / "shards/train-000000.tar"
    data = bytearray(tar.read_bytes())
    with tarfile.open(fileobj=io.BytesIO(bytes(data))) as file:
        flac = next(member for member in file if member.name == "train002.source.flac")
    data[flac.offset_data : flac.offset_data + flac.size] = bytes(flac.size)
    tar.write_bytes(data)
    made = draws(run)
    held = [made[position] for position in range(6)]
    assert sum(len(batch.broken) for batch in held) == 1
    assert "train002" not in {batch.keys[0] for batch in held}
    assert collate(held).source.shape[0] == 6


def test_nothing_but_broken_samples_is_an_end_in_a_line(tmp_path):
    run = make_run(tmp_path / "run", train=2, shard_of=2)
    made = [pair(f"train{number:03d}", "train", number, 16_000, 1.0, 1, 0) for number in range(2)]
    data = shard(made).replace(b"fLaC", b"xxxx")
    (Path(run) / "shards/train-000000.tar").write_bytes(data)
    with pytest.raises(RequestError, match="samples on end cannot be read"):
        draws(run)[0]


@pytest.mark.parametrize("wrong", [{"instructions": []}, {"edit_spans": None}, {"edit": None}])
def test_facts_that_lack_make_a_sample_a_broken_one(tmp_path, wrong):
    made = draws(make_run(tmp_path / "run"))
    sample = speech(2.5)
    facts = {name: value for name, value in (sample.facts | wrong).items() if value is not None}
    with pytest.raises(Rejected, match=f"does not tell its {next(iter(wrong))}"):
        made.draw(sample._replace(facts=facts), 0, [])


def test_a_sample_without_spans_gives_windows_anywhere(tmp_path):
    sample = speech(2.5)
    made = draws(make_run(tmp_path / "run"))
    held = [made.draw(sample._replace(facts=sample.facts | {"edit_spans": [], "edit": "remove"}), position, []) for position in range(8)]
    assert len({float(batch.source[0, 0, 0]) for batch in held}) > 4


def test_dropouts_come_as_often_as_asked(tmp_path):
    made = draws(make_run(tmp_path / "run", seconds=0.1), dropout={"instruction": 0.5, "source": 0.0})
    held = collate([made[position] for position in range(200)])
    assert not held.without_source.any()
    assert 70 < held.without_instruction.sum() < 130
