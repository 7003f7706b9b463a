"""What the integration tests share: a daemon, its releases and workers, and clean ends."""
