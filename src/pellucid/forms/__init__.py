"""What a part can run as instead of its weights, how well that stands for it, and what it costs."""
