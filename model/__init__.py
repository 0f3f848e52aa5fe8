"""The generator that the dataset trains: a frozen language model that reads, conditioners, a diffusion transformer, a codec, a flow."""
