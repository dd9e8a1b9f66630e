"""Reader studies: blinded, randomised reading of real scans and pseudo-MRIs. Nothing is here yet."""
