"""The exact graph: a subject's forward pass as a list of named operations, bit for bit that of Hugging Face eager."""
