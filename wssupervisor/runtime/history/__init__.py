"""What happened: recorded on disk, and read back."""
