"""The way out to moviepy: the edited result as a VideoClip whose frames are composited when asked for."""

from __future__ import annotations
