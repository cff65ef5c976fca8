-- Halves the rate of a scope (KEYS 1), never below ARGV 4; answers its new share, or nothing where it was halved just now.
local current, age = share(KEYS[1])
if age and age >= 0 and age < halve_gap then return false end
local halved = string.format('%.6f', math.max(tonumber(ARGV[4]), current / 2))
redis.call('HSET', KEYS[1], 'share', halved, 'since', string.format('%.0f', now))
-- The first to see it whole again deletes it and logs that; where nobody asks any more it expires.
redis.call('EXPIRE', KEYS[1], 600)
return halved
