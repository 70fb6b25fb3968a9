"""Where two programs say different things, and what these places have in common."""
