"""From a small algorithmic transformer to an ordinary program without weights, measured against the model."""
