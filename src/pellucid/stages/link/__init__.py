"""Which residuals can go, judged jointly."""
