"""How good a version or a sequence of them is, and what follows from that."""
