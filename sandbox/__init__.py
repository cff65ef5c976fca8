"""A stand-in for Stripe: an HTTP server with state, reached only over HTTP, as Stripe is.

It keeps one test-mode account in the memory of one process: every object with all its versions, the events they made,
and the webhook endpoints that are told of them. Any object can be read in two API shapes, 2024-06-20 and
2026-10-28.endive, as it is now or as it was.

What it does not do. It charges no cards: whether a payment succeeds is said by the story or by the test. Time does not
bill by itself: no subscription renews until a story says so. There are no taxes, no currencies but one per price, no
usage meters, no tiers, no notices of what is to come (`invoice.upcoming`, `trial_will_end`), no quotes, schedules,
promotion codes, credit notes, test clocks, connected accounts, Search, and nothing in live mode. Proration is by the
second and knows no anchors or pending updates. A draft invoice is finalised in the same breath, not an hour later, unless
the clock is a virtual one. Of `/v2` it knows core events alone. Parameters that Stripe has and the sandbox does not know
are refused, as Stripe refuses unknown ones, so that no test passes for want of one.
"""
