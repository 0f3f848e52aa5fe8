"""From shards to a trained model: samples, what is drawn of them, the objective, checkpoints, what is told meanwhile. `model.train` is the loop."""
