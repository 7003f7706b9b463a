"""What is counted and shown: connections, queues, the status, and what keeps a drain alive."""
