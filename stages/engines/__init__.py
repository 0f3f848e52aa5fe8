"""One outside model or synthesizer, one file."""
