"""What every other folder may import: addresses, axis names, errors, progress, atomic writes."""
