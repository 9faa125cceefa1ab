"""Masks and mattes in the formats of other tools, out and back in."""
