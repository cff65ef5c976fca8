"""The daemon: why and when. Rooms: core (pure), store (Postgres), jobs, and the edges that call them."""
