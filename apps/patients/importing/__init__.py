"""Any clinic's file into findings: read, matched, checked, stripped of identity, stored.

Read in this order: `source` (what kind of file), `delimited`, `workbook`, `fhir` (the readers),
`door` (what never enters), `matching` (columns to concepts), `reading` (rows to findings),
`storing` (findings to the database), `runner` (the steps of an import), `services` (what pages and
commands call).
"""
