"""What a version's answers are worth: calibrated scores, and whether an image is of any known class."""
