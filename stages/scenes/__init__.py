"""The ways to make a scene."""
