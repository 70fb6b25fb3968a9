"""The main job, from a subject to its program, verified."""
