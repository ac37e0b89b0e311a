#!lua
-- Unlock after too many wrong passwords: all tries are there again.
--
-- KEYS    1 receipt
-- ARGV    1 name of this call   2 how many wrong passwords lock it
-- returns 1, or 0 if it was not locked
--
-- Safe to repeat: the name shows that it was this call that unlocked it.
if redis.call('HGET', KEYS[1], 'un') == ARGV[1] then
  return 1
end
local state, used = unpack(redis.call('HMGET', KEYS[1], 's', 'n'))
if state ~= 'locked' and (state ~= 'sealed' or tonumber(used or 0) < tonumber(ARGV[2])) then
  return 0
end
redis.call('HSET', KEYS[1], 's', 'sealed', 'n', 0, 'un', ARGV[1])
return 1
