"""Pages of reader studies."""
