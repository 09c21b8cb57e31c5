"""Layers: normalization, blocks, grouped convolution, pooling."""
