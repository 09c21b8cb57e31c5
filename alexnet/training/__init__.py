"""Training: batches of images."""
