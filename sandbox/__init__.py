"""A stand-in for Stripe: an HTTP server with state. Like Stripe, it is used only over HTTP.

It keeps a test-mode account, and accounts connected to it, in the memory of one process: every object with all its
versions, the events they caused, and the webhook endpoints that receive them. Any object can be read in two API shapes,
2024-06-20 and 2026-10-28.endive, as it is now or as it was.

Limits:
- No cards are charged. The story or the test decides whether a payment succeeds.
- Nothing is billed because time passes. A subscription renews when a story renews it.
- There are no taxes, usage meters, tiers, test clocks, Search or live mode, and a price has only one currency. Events that
  announce something (`invoice.upcoming`, `trial_will_end`) are not sent.
- Quotes, schedules, promotion codes, invoice items and other types without rules are only stored as given (`sandbox.plain`).
- Proration is computed by the second, without pending updates.
- While the clock shows the real time, the draft invoice of a renewal is finalised at once. Otherwise the clock first advances
  by an hour, which is the time that Stripe takes.
- Of `/v2`, only core events and event destinations exist.
- If a request has a parameter that the sandbox does not know, it is refused, even if Stripe has this parameter. So no test
  passes because a parameter was ignored.
"""
