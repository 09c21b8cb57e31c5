"""One trial: run, checkpoint, resume, failures."""
