"""Scans on their way from a scanner's file to a stripped volume on the model's grid.

A web process takes the file in and checks its header (`services`, `folder`, `uploading`); a worker
has it preprocessed in a child process with limits (`runner`, `sandbox`, `child`). The file as it
came shows a face, so it lies in a private folder and is deleted as soon as nobody needs it.
"""
