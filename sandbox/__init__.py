"""A stand-in for Stripe: an HTTP server with state, reached over HTTP alone, as Stripe is.

It keeps one test-mode account in the memory of one process: every object with all its versions, the events they caused,
and the webhook endpoints that receive them. Any object can be read in two API shapes, 2024-06-20 and 2026-10-28.endive,
as it is now or as it was.

Limits. It charges no cards: the story or the test decides whether a payment succeeds. Passing time bills nothing: a
subscription renews when a story renews it. There are no taxes, one currency per price, no usage meters, no tiers, no notices
of what is to come (`invoice.upcoming`, `trial_will_end`), no quotes, schedules, promotion codes, invoice items of their own,
test clocks, connected accounts, Search, and nothing in live mode. Proration is by the second and knows no pending updates.
A draft invoice is finalised at once, not an hour later, unless the clock is a virtual one. Of `/v2` it has core events
and the list of event destinations alone. Parameters that Stripe has and the sandbox does not know are refused, as Stripe
refuses unknown ones, so that no test passes because a parameter was ignored.
"""
