"""A result written down outside the page."""
