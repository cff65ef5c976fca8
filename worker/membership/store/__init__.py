"""The SQL of membership: load facts, save results, and the queues of users to compute."""
