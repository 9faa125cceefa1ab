"""The staged DAG: what a stage is, where its results lie, what would run and why, running it, telling it."""
