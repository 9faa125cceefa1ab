"""Many edits in one go: the jobs file, what of it is finished, and the processes and machines that do the rest."""
