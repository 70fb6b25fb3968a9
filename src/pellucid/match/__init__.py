"""From a program that runs raw to one that is understood: propose, link, verify jointly, report."""
