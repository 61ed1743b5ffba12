"""`everclass bench`: methods of continual learning compared on one protocol, with the code that serves."""
