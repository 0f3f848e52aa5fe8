"""Tiny checkpoints of the real engines, with random weights, as their packages write them."""

import json
import re
from fractions import Fraction
from pathlib import Path

import numpy as np
import yaml

TONGUES = ("en", "de", "fr", "es", "sw")  # that the Whisper knows
SENTENCES = (  # that its tokenizer is made of
    "When the rain stopped, the farmer walked home.", "My uncle bought seven yellow apples.", "We waited near the bridge, and slept.",
    "Nobody answered when the telephone rang.", "They didn't go to London last week.", "my uncle bought 17 apples",
)
VBX = {"threshold": 0.6, "Fa": 0.07, "Fb": 0.8}
LINKED = {"method": "ward", "min_cluster_size": 2, "threshold": 0.6}


def make_demucs(seed: int, sources: list[str], **options):
    """A hybrid transformer of the published structure, but narrow and of chance."""
    import torch
    from demucs.htdemucs import HTDemucs

    torch.manual_seed(seed)
    return HTDemucs(sources, **{"channels": 4, "dconv_comp": 2, "bottom_channels": 16, "t_layers": 3, "t_heads": 2, "segment": Fraction(1), **options})


def make_demucs_by_channel():
    """A hybrid transformer whose weights are set so that drums are what the left channel holds, and bass what the right one does."""
    import torch

    model = make_demucs(1, ["drums", "bass", "other", "vocals"], channels=16, dconv_mode=0)
    first, last = model.tencoder[0], model.tdecoder[-1]
    parts = (first.conv, first.rewrite, last.rewrite, last.conv_tr, model.tdecoder[-2].conv_tr, model.decoder[-1].conv_tr)
    with torch.no_grad():
        for part in parts:
            part.weight.zero_()
            part.bias.zero_()
        for n in range(8):  # four samples of each channel go through the outermost layers alone
            first.conv.weight[n, n // 4, 2 + n % 4] = 1
            first.rewrite.weight[n, n, 0] = last.rewrite.weight[n, n, 1] = 1
            last.conv_tr.weight[n, (0, 3)[n // 4], 2 + n % 4] = 1
        first.conv.bias[:], first.rewrite.bias[:16] = 50, -50  # far into the straight part of GELU, and back
        first.rewrite.bias[16:] = last.rewrite.bias[16:] = 30  # gates are open
    return model


def save_demucs(folder: Path, name: str, model, **changes) -> Path:
    """Write a model as the package writes it; gives its file."""
    from demucs.states import save_with_checksum, serialize_model
    from omegaconf import OmegaConf

    save_with_checksum({**serialize_model(model, OmegaConf.create({"seed": 1}), half=False), **changes}, folder / f"{name}.th")
    return next(folder.glob(f"{name}-*.th"))


def make_clap(folder: Path) -> dict[str, str]:
    """A CLAP of HTSAT-tiny and a RoBERTa of one layer; gives the engine's options."""
    import torch
    from tokenizers import ByteLevelBPETokenizer
    from transformers import RobertaConfig

    from stages.engines import laion_clap

    folder.mkdir()
    pieces = ByteLevelBPETokenizer()
    pieces.train_from_iterator(SENTENCES, vocab_size=300, special_tokens=["<s>", "<pad>", "</s>", "<unk>", "<mask>"], show_progress=False)
    pieces.save_model(str(folder))
    RobertaConfig(vocab_size=pieces.get_vocab_size(), hidden_size=768, num_hidden_layers=1, num_attention_heads=4, intermediate_size=64,
                  max_position_embeddings=80, type_vocab_size=1).save_pretrained(folder)
    networks = laion_clap._networks()
    roberta, _ = laion_clap._text_model(str(folder))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = laion_clap._built(json.loads((networks / "model_configs" / "HTSAT-tiny.json").read_text()), roberta, False)
    model.audio_branch.bn0.running_mean.fill_(-30)
    model.audio_branch.bn0.running_var.fill_(400)
    torch.save({"epoch": 1, "state_dict": {f"module.{name}": value for name, value in model.state_dict().items()}}, folder / "clap.pt")
    return {"checkpoint": str(folder / "clap.pt"), "text_model": str(folder)}


def make_whisper(folder: Path) -> str:
    """A Whisper of two layers in CTranslate2's format. It writes about ten pieces of words, and at times the digit 7."""
    import torch
    from ctranslate2.converters import TransformersConverter
    from tokenizers import ByteLevelBPETokenizer
    from transformers import GenerationConfig, WhisperConfig, WhisperFeatureExtractor, WhisperForConditionalGeneration, WhisperTokenizerFast

    pieces = ByteLevelBPETokenizer()
    pieces.train_from_iterator(SENTENCES * 9, vocab_size=340, show_progress=False)
    folder.mkdir()
    pieces.save_model(str(folder))
    vocabulary = json.loads((folder / "vocab.json").read_text())
    (folder / "vocab.json").write_text(json.dumps({**vocabulary, "": len(vocabulary)}))  # by this CTranslate2 tells that it is multilingual
    names = ["startoftranscript", *TONGUES, "translate", "transcribe", "startoflm", "startofprev", "nospeech", "notimestamps"]
    names += [f"{n * 0.02:.2f}" for n in range(1501)]
    end = "<|endoftext|>"
    tokenizer = WhisperTokenizerFast(str(folder / "vocab.json"), str(folder / "merges.txt"), unk_token=end, bos_token=end, eos_token=end,
                                     additional_special_tokens=[f"<|{name}|>" for name in names])
    special = {name: tokenizer.convert_tokens_to_ids(name) for name in [end, *(f"<|{name}|>" for name in names)]}
    last, begin = special[end], special["<|startoftranscript|>"]
    quiet = [n for n in range(len(tokenizer)) if n != last and not re.fullmatch(r" ?[a-z0-9]+", tokenizer.decode([n]) if n < last else "")]
    torch.manual_seed(0)
    model = WhisperForConditionalGeneration(WhisperConfig(
        vocab_size=len(tokenizer), d_model=64, encoder_layers=2, decoder_layers=2, encoder_attention_heads=2, decoder_attention_heads=2,
        encoder_ffn_dim=128, decoder_ffn_dim=128, init_std=0.1, bos_token_id=last, eos_token_id=last, pad_token_id=last,
        decoder_start_token_id=begin))
    with torch.no_grad():
        decoder = model.model.decoder
        for layer in decoder.layers:  # the more it looks at the sound, the more what it writes depends on it
            for part, factor in (("q_proj", 10), ("k_proj", 10), ("v_proj", 3), ("out_proj", 3)):
                getattr(layer.encoder_attn, part).weight.mul_(factor)
        model.model.encoder.conv1.weight.mul_(3)
        tokens, places = decoder.embed_tokens.weight, decoder.embed_positions.weight
        tokens[last] = 0.1 * torch.randn(64)
        tokens[begin], places[0] = 0, 0  # so that the sound alone chooses a language
        places[3:14] -= 10 * tokens[last]
        tokens[tokenizer.convert_tokens_to_ids("7")] = -tokens[last]
        places[14:] = 100 * tokens[last]
    model.generation_config = GenerationConfig(lang_to_id={f"<|{one}|>": special[f"<|{one}|>"] for one in TONGUES}, eos_token_id=last,
                                               suppress_tokens=quiet, begin_suppress_tokens=[last], decoder_start_token_id=begin)
    for part in (model, tokenizer, WhisperFeatureExtractor()):
        part.save_pretrained(folder / "transformers")
    made = folder / "ctranslate2"
    TransformersConverter(str(folder / "transformers"), copy_files=["tokenizer.json", "preprocessor_config.json"]).convert(str(made))
    return str(made)


def make_aligner(folder: Path, letters: str, seed: int = 1) -> str:
    """A wav2vec2 of two layers that tells these letters."""
    import torch
    from transformers import Wav2Vec2Config, Wav2Vec2CTCTokenizer, Wav2Vec2FeatureExtractor, Wav2Vec2ForCTC, Wav2Vec2Processor

    folder.mkdir()
    names = ["<pad>", "<s>", "</s>", "<unk>", "|", *letters]
    (folder / "vocab.json").write_text(json.dumps({name: n for n, name in enumerate(names)}))
    Wav2Vec2Processor(Wav2Vec2FeatureExtractor(do_normalize=True), Wav2Vec2CTCTokenizer(str(folder / "vocab.json"))).save_pretrained(folder)
    torch.manual_seed(seed)
    model = Wav2Vec2ForCTC(Wav2Vec2Config(
        vocab_size=len(names), hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64, conv_dim=(16,) * 7,
        num_conv_pos_embeddings=16, num_conv_pos_embedding_groups=2))
    with torch.no_grad():
        model.lm_head.weight.mul_(20)
        model.lm_head.bias[0] += 3  # blanks are frequent
    model.save_pretrained(folder)
    return str(folder)


def _save(model, folder: Path) -> None:
    """A checkpoint as training leaves one."""
    import lightning

    trainer = lightning.Trainer(accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False)
    trainer.strategy.connect(model)
    folder.mkdir()
    trainer.save_checkpoint(folder / "pytorch_model.bin")


def configure_diarization(path: Path, clustering: str = "VBxClustering", thresholds: dict = VBX, onset: dict | None = None, **params) -> str:
    """Write a config.yaml, and give its path."""
    params = {"segmentation": "$model/segmentation", "embedding": "$model/embedding", "plda": "$model/plda", "clustering": clustering} | params
    path.write_text(yaml.safe_dump({
        "dependencies": {"pyannote.audio": "4.0.0"},
        "pipeline": {"name": "pyannote.audio.pipelines.SpeakerDiarization", "params": {k: v for k, v in params.items() if v is not None}},
        "params": {"segmentation": {"min_duration_off": 0.0} | (onset or {}), "clustering": thresholds},
    }))
    return str(path)


def make_diarization_networks(made: Path, dimension: int = 16) -> None:
    """Folders segmentation (of powersets), embedding (of speakers) and plda, as training leaves them."""
    import torch
    from pyannote.audio.core.task import Problem, Resolution, Specifications
    from pyannote.audio.models.embedding import XVectorMFCC
    from pyannote.audio.models.segmentation import PyanNet

    with torch.random.fork_rng():
        torch.manual_seed(3)
        network = PyanNet(lstm={"hidden_size": 8, "num_layers": 1}, linear={"hidden_size": 8, "num_layers": 1})
        network.specifications = Specifications(Problem.MONO_LABEL_CLASSIFICATION, Resolution.FRAME, duration=2.0, classes=["a", "b", "c"],
                                                powerset_max_classes=2, permutation_invariant=True)
        network.build()
        with torch.no_grad():  # so that what it hears decides what it finds
            for name, weights in network.named_parameters():
                if name.startswith(("lstm.weight", "linear", "classifier.weight")):
                    weights *= 3
            network.classifier.bias.zero_()
            network.classifier.bias[0] = -1  # of nobody
        _save(network, made / "segmentation")
        network = XVectorMFCC(dimension=dimension)
        network.specifications = Specifications(Problem.REPRESENTATION, Resolution.CHUNK, duration=2.0)
        _save(network, made / "embedding")
    (made / "plda").mkdir()
    lda = np.random.default_rng(0).standard_normal((dimension, 8))
    np.savez(made / "plda" / "xvec_transform.npz", mean1=np.zeros(dimension), mean2=np.zeros(8), lda=lda)
    np.savez(made / "plda" / "plda.npz", mu=np.zeros(8), tr=np.eye(8), psi=np.arange(8.0, 0, -1))
