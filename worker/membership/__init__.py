"""What mirrored facts mean for users: role, status, product and tokens."""
