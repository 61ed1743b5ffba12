"""Stage 1: what moves on a task's images, at which rates, and the loop that moves it."""
