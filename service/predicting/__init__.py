"""From what the ledger says is in force to answers: versions loaded and warm, and the way of a predict request."""
