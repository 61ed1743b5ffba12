"""From the bytes that a client sent to the squares that a network takes."""
