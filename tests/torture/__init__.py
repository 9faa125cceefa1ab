"""Torture: damaged input, hostile names, full disks, kills: `python -m tests.torture`; see docs/reliability.md."""
