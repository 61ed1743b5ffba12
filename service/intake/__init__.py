"""From the body of a learn request to a task: counted, taken apart, checked, and done once."""
