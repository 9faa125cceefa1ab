"""Stages and the recipes that join them: from what was said of objects to edited videos and exported masks."""
