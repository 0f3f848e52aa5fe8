"""Evaluation: how far an output is from the target of its pair, beside what needs no model."""
