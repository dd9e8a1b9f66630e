"""Pages of cohorts, patients and imports: one module a subject."""
