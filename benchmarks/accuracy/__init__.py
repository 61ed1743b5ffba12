"""Split CIFAR-100 at the small size: one slow-learner run a seed, and every head that its statistics can make."""
