"""From features to logits: the head, and how it is made or aligned from class statistics."""
