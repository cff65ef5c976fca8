"""Report changes of users to the application: by HTTP calls, and by pages of changes that it reads."""
