"""Training: the batches of images."""
