"""What grows, each in a file of its own: it starts a server, and measures each operation at each size."""
