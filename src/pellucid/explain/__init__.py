"""What parts do, in words that are tested: examples, explanations by whoever can read, and scores on other text."""
