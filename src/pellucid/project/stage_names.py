"""What stages are called in the evidence, where what they gave is kept and the report finds it."""

from __future__ import annotations

from typing import Final

SOURCES: Final = "sources"
LIFTED: Final = "lifted"
LINK: Final = "link"
CHOSEN: Final = "chosen"
ABOUT: Final = "what parts do"
UNDERSTANDING: Final = "understanding"
WORST_UNDERSTOOD: Final = "worst of understanding"
CONTEXTS: Final = "contexts"
PROOF: Final = "proof"
LIFTED_PROOF: Final = "lifted proof"
JOINT_PROOF: Final = "joint proof"
STRONGEST: Final = "strongest"
WIRED: Final = "wired"
WORST: Final = (CONTEXTS, WORST_UNDERSTOOD, STRONGEST)
"""The stages that keep the places which a report shows of each part."""
