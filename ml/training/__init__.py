"""The stages of the paper, one file each, the loop written out."""
