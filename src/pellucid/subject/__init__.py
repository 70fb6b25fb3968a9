"""From a checkpoint on disk or on the hub to a checked subject: config, weights, tokenizer, hashes."""
