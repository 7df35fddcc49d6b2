-- Counts one request of KEYS[1], at ARGV[1] microseconds for each and ARGV[2] of them at once.
-- Gives back whether it may pass, how many are left, and after how many microseconds the next may come.

-- Microseconds since 2026, as a float keeps fractions of those better than of the ones since 1970.
local time = redis.call('TIME')
local now = (time[1] - 1767225600) * 1000000 + time[2]
local interval = tonumber(ARGV[1])
local depth = interval * tonumber(ARGV[2])

-- When the bucket is full again. It cannot lack more than it holds, whatever the clock or the limit were before.
local full_at = tonumber(redis.call('GET', KEYS[1]) or now) or now
full_at = math.min(math.max(full_at, now), now + depth)

local next_full_at = full_at + interval
local lacks = next_full_at - now
-- Half a microsecond is within the clock's precision.
if lacks > depth + 0.5 then
  return { 0, 0, math.ceil(lacks - depth) }
end
redis.call('SET', KEYS[1], string.format('%.3f', next_full_at), 'PX', math.ceil(lacks / 1000))
return { 1, math.max(math.floor((depth - lacks + 0.5) / interval), 0), 0 }
