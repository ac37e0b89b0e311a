#!lua
-- Unlock after too many wrong passwords: all tries are there again.
--
-- KEYS    1 receipt
-- ARGV    (none)
-- returns 1, or 0 if it was not locked
if redis.call('HGET', KEYS[1], 's') ~= 'locked' then
  return 0
end
redis.call('HSET', KEYS[1], 's', 'sealed', 'n', 0)
return 1
