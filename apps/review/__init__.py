"""Reader studies: blinded, randomised reading of scans and pseudo-MRIs. Nothing is here yet."""
