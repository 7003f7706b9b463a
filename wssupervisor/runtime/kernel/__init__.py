"""What Linux says and does, one file for each of its interfaces."""
