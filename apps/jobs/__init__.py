"""Jobs whose truth is a database row: claimed under a lease, finished once, retried a few times."""
