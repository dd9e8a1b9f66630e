"""Reading and making data: volumes, records, cohorts, phantoms."""
