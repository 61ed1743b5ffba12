"""Who may do what: keys, scopes, quotas of calls, what browsers may do, and the log of what was done and refused."""
