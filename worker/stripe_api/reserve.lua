-- Takes a place in all lanes at once, or in none.
-- KEYS: the lowered rates of two scopes (account, operation), the mark of recent on-access work, then the lanes.
-- ARGV 1 to 3: see share.lua. 4: how long the caller can wait. 5: how long the mark lasts (0 for background work).
-- 6 and 7: the share of background work without and with the mark. Then three arguments for each lane: its spacing, the
-- number of its scope, and whether it is a background lane.
-- Times are in microseconds, formatted as integers, because Lua would write 1.7e+15.
local shares, restored = {}, {0, 0}
for scope = 1, 2 do
  local age
  shares[scope], age = share(KEYS[scope])
  if age and shares[scope] == 1 then restored[scope] = redis.call('DEL', KEYS[scope]) end
end
local mark = tonumber(ARGV[5])
if mark > 0 then redis.call('SET', KEYS[3], 1, 'PX', math.ceil(mark / 1000)) end
local background = redis.call('EXISTS', KEYS[3]) == 1 and ARGV[7] or ARGV[6]
local at = now
for i = 4, #KEYS do
  local free = tonumber(redis.call('GET', KEYS[i]) or 0)
  -- A place more than a minute ahead was taken by another clock, before a failover. It is ignored.
  if free > at and free < now + 60000000 then at = free end
end
local taken = 0
if at - now <= tonumber(ARGV[4]) then
  taken = 1
  for i = 4, #KEYS do
    local first = 8 + 3 * (i - 4)
    local rate = shares[tonumber(ARGV[first + 1])]
    if ARGV[first + 2] == '1' then rate = rate * background end
    local free = at + math.ceil(ARGV[first] / rate)
    redis.call('SET', KEYS[i], string.format('%.0f', free), 'PX', math.ceil((free - now) / 1000) + 1000)
  end
end
return {taken, string.format('%.0f', at), string.format('%.0f', at - now), restored[1], restored[2]}
