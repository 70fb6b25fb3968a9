"""What a model does, by experiments on it: attribution, circuits, heads, probes, readouts."""
