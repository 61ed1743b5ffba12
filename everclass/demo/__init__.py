"""The demonstration: a real server that learns real images task by task, answers all the while, and goes back."""
