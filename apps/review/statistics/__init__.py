"""Statistics of reader studies, on arrays alone: no Django, no database, no clock, no file.

`analysis.analyse` does all that a study's protocol asks for; every other module is one family of
estimators and can be used alone. Workers import this package; a web process may import
`planning` and `estimate`, which need the standard library alone.
"""
