"""What a project directory holds: manifest, text, trust, symbols, evidence, reports."""
