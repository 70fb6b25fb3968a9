"""A family of networks, described once: what it is made of, where its numbers lie, what its parts are called."""
