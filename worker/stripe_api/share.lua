-- The beginning of both scripts: the time in microseconds, and a function for the present share of a scope's rate.
-- ARGV 1 to 3: how long a lowered rate is held, how long it takes to recover, and the minimum time between two halvings.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local hold, recovery, halve_gap = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local function share(key)
  local slow = redis.call('HMGET', key, 'share', 'since')
  if not slow[1] then return 1, nil end
  local age = now - slow[2]
  return math.min(1, slow[1] + math.max(0, age - hold) / recovery), age
end
