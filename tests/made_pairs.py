"""Made pairs of one scene: a noise, and over it sounds at known places."""

import json

import numpy as np

from model.evaluation.task import Task

RATE, SECONDS = 16_000, 3


def tone(pitch: float, start: float, end: float, level: float = 0.3) -> np.ndarray:
    time = np.arange(RATE * SECONDS) / RATE
    return (level * np.sin(2 * np.pi * pitch * time) * ((time >= start) & (time < end))).astype(np.float32)[None]


def background(level: float = 0.02, seed: int = 0) -> np.ndarray:
    return (level * np.random.default_rng(seed).standard_normal((1, RATE * SECONDS))).astype(np.float32)


def task(edit: str, source: np.ndarray, target: np.ndarray, spans: list, number: int = 0, **more) -> Task:
    facts = {"id": f"{edit}-{number}", "scene_id": "one", "edit": edit, "edit_spans": spans, "label": "bell", "noop": False, "params": json.dumps(more),
             "sample_rate": RATE, "instruction": "Do it."}
    return Task(source, target, RATE, facts)
