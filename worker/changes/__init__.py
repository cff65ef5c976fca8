"""Changes of users, as others get them: by HTTP calls, and by pages that they read."""
