"""A tiny random thinker in the layout of Qwen2.5-Omni, for tests and for training where no hub can be reached. It understands nothing.

Its tokens are bytes, and its weights chance, of a size at which what a token becomes depends on those before it: a fixed random code of the words.
"""

from pathlib import Path

from model.quiet import quiet

TINY = "tiny-random"  # its name, where an MLLM's is asked for

CONTROL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|AUDIO|>", "<|audio_bos|>", "<|audio_eos|>", "<|IMAGE|>", "<|VIDEO|>", "<|vision_bos|>",
           "<|vision_eos|>"]


def make_tiny_thinker(folder: str | Path, width: int = 64, layers: int = 3, seed: int = 0) -> str:
    """Write one, and give its path, which stands wherever an MLLM's name does.

    Args:
        folder: of weights, configuration, tokenizer and feature extractor.
        width: of its hidden states, a multiple of 64.
        layers: of its decoder.
        seed: of its weights.
    """
    import torch
    from transformers import Qwen2_5OmniThinkerConfig, Qwen2_5OmniThinkerForConditionalGeneration, WhisperFeatureExtractor


    tokenizer = _tokenizer()
    number = tokenizer.convert_tokens_to_ids
    Path(folder).mkdir(parents=True, exist_ok=True)
    with quiet(str(folder)):
        config = Qwen2_5OmniThinkerConfig(
            text_config={"vocab_size": len(tokenizer), "hidden_size": width, "intermediate_size": 128, "num_hidden_layers": layers,
                         "num_attention_heads": width // 16, "num_key_value_heads": 2, "max_position_embeddings": 4096,
                         "rope_scaling": {"mrope_section": [2, 3, 3], "rope_type": "default"}},
            audio_config={"num_mel_bins": 32, "encoder_layers": 2, "encoder_attention_heads": 2, "encoder_ffn_dim": 64, "d_model": 32, "output_dim": width},
            vision_config={"depth": 2, "hidden_size": 32, "intermediate_size": 64, "num_heads": 2, "out_hidden_size": width, "fullatt_block_indexes": [1]},
            audio_token_index=number("<|AUDIO|>"), image_token_index=number("<|IMAGE|>"), video_token_index=number("<|VIDEO|>"),
            audio_start_token_id=number("<|audio_bos|>"), audio_end_token_id=number("<|audio_eos|>"),
            vision_start_token_id=number("<|vision_bos|>"), vision_end_token_id=number("<|vision_eos|>"), pad_token_id=tokenizer.pad_token_id,
        )
    chance = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]), quiet(str(folder)):
        thinker = Qwen2_5OmniThinkerForConditionalGeneration(config)
    with torch.no_grad():
        for name, weight in thinker.named_parameters():
            if weight.ndim > 1:  # gains stay one, biases zero
                size = 1 if "embed_tokens" in name else weight[0].numel() ** -0.5
                size *= 2 if "audio_tower" not in name and "self_attn" in name else 1  # so that it looks at few tokens, and takes much of them
                weight.copy_(size * torch.randn(weight.shape, generator=chance))
            elif name.endswith("bias"):
                weight.zero_()
    with quiet(str(folder)):
        thinker.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    WhisperFeatureExtractor(feature_size=32, chunk_length=30).save_pretrained(folder)
    return str(folder)


def _tokenizer():
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    bytes_alone = Tokenizer(models.BPE())
    bytes_alone.pre_tokenizer, bytes_alone.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    bytes_alone.train_from_iterator([], trainers.BpeTrainer(
        special_tokens=CONTROL, initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()), show_progress=False))
    return PreTrainedTokenizerFast(tokenizer_object=bytes_alone, eos_token="<|im_end|>", pad_token="<|endoftext|>")
