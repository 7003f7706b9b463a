"""What one supervisor saves and the next restores: at an upgrade, and after a death."""
