"""What `stripe-sync dev` and the tests need and production does not: servers of one's own, and the show."""
