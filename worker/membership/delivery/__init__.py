"""Tell others about changes of users: by HTTP calls, and by pages that they read."""
