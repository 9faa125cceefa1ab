"""The page: a small server on loopback that holds one edit project open, and the page that it serves."""
