#!lua
-- "That was not me": the reader reports, once, that somebody else opened it.
--
-- KEYS    1 receipt
-- ARGV    1 name of this call
-- returns 1, or 0 if it was reported before or is not known any more
--
-- Safe to repeat: the name shows that it was this call that reported.
if redis.call('EXISTS', KEYS[1]) == 0 then
  return 0
end
if redis.call('HSETNX', KEYS[1], 'rp', redis.call('TIME')[1]) == 1 then
  redis.call('HSET', KEYS[1], 'rn', ARGV[1])
  return 1
end
return redis.call('HGET', KEYS[1], 'rn') == ARGV[1] and 1 or 0
