"""What parts do in terms of text, for parts that run from their weights: where they act, what they look at and say."""
