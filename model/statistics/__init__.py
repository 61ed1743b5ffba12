"""What is remembered of each class, and what is made of it."""
