"""What is done to a clip, a scene or a pair: one stage, one file. Knows nothing of Ray."""
