"""Editing a decompiled model: by hand or by intent, predicted before and measured after, and undone alone."""
