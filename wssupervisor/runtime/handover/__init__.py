"""What one supervisor saves and the next restores, at an upgrade or after a death."""
