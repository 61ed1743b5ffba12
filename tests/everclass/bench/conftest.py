"""What the tests of `everclass bench` share."""

from tests.threads import one_thread

__all__ = ["one_thread"]
