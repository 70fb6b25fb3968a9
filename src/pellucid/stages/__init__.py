"""From a program that runs raw to one that is understood, a stage a folder."""
