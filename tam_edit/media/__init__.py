"""Reading and writing video: PyAV lives in this folder only."""
