"""Pages for monitoring and load balancers: metrics, health, HAProxy's agent check."""
