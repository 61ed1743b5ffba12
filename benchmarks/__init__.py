"""What measures accuracy and speed, with its last results."""
