"""Sources over kinds of tokens and named values, for all QK and IN at once: trained on KL, pruned, printed, proved."""
