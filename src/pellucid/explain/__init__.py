"""What is known about the parts: names with their provenance, and every measurement that was made."""
