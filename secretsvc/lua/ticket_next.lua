#!lua
-- Say when to look at a ticket next, or never, unless somebody has said so meanwhile.
--
-- KEYS    1 tickets to look at
-- ARGV    1 ticket   2 the time that was read   3 when to look next, or ""
-- returns 1, or 0 if it was given another time since it was read (nothing changed)
--
-- Safe to repeat: after the first run there is another time, or none.
local due = redis.call('ZSCORE', KEYS[1], ARGV[1])
if not due or tonumber(due) ~= tonumber(ARGV[2]) then
  return 0
end
if ARGV[3] == '' then
  redis.call('ZREM', KEYS[1], ARGV[1])
else
  redis.call('ZADD', KEYS[1], ARGV[3], ARGV[1])
end
return 1
