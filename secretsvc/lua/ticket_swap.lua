#!lua
-- Change one field of a ticket, if it is still what the app has read.
--
-- KEYS    1 ticket
-- ARGV    1 field   2 the value that was read, or ""   3 the new value   4 how long the ticket is kept, in s
-- returns 1, or 0 if another process was first (nothing changed)
--
-- Safe to repeat: a second run finds its own value.  A ticket's life is never shortened.
local now = redis.call('HGET', KEYS[1], ARGV[1]) or ''
if now ~= ARGV[2] and now ~= ARGV[3] then
  return 0
end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
if redis.call('TTL', KEYS[1]) < tonumber(ARGV[4]) then
  redis.call('EXPIRE', KEYS[1], ARGV[4])
end
return 1
