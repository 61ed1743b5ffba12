"""Texts that go into exported archives as they are."""
