#!lua
-- "That was not me": the reader reports, once, that somebody else opened it.
--
-- KEYS    1 receipt
-- ARGV    (none)
-- returns 1, or 0 if it was reported before or is not known any more
if redis.call('EXISTS', KEYS[1]) == 0 then
  return 0
end
return redis.call('HSETNX', KEYS[1], 'rp', redis.call('TIME')[1])
