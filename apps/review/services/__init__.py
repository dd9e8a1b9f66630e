"""Every write to reader studies starts here."""
