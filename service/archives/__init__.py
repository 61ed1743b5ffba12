"""A version leaves as one archive that works without Everclass, and comes back as a root."""
