"""One outside model or synthesizer, one file. None of their packages reports usage to anyone, unless the environment asks for it."""

import os

SILENCE = {"PYANNOTE_METRICS_ENABLED": "0", "WANDB_MODE": "disabled", "HF_HUB_DISABLE_TELEMETRY": "1", "DO_NOT_TRACK": "1"}

for _key, _value in SILENCE.items():  # here, for they are read when those packages are imported
    os.environ.setdefault(_key, _value)
