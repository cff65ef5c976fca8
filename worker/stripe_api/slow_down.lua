-- Halves the rate of a scope (KEYS 1), but not below ARGV 4. Returns the new share, or false if it was halved just now.
local current, age = share(KEYS[1])
if age and age >= 0 and age < halve_gap then return false end
local halved = string.format('%.6f', math.max(tonumber(ARGV[4]), current / 2))
redis.call('HSET', KEYS[1], 'share', halved, 'since', string.format('%.0f', now))
-- The first request after the recovery deletes the key and logs it. Without requests the key expires.
redis.call('EXPIRE', KEYS[1], 600)
return halved
