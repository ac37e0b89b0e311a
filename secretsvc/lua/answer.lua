#!lua
-- Store the one answer to a request.
--
-- KEYS    1 receipt   2 record
-- ARGV    1 what the app takes for now, in s   2 expiry in s   3 end of the receipt in s
--         4 record   5 fingerprint of the answer   6… receipt fields and values
-- returns {"answered" | "again" (the same answer) | "taken" (another one, or ended) | "clock", now in ms}
--
-- Safe to repeat: the second run finds its own fingerprint.  The state decides, so of two answers one is kept.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local found = redis.call('HMGET', KEYS[1], 's', 'x', 'ab')
if found[3] == ARGV[5] then
  redis.call('PEXPIREAT', KEYS[1], redis.call('PEXPIRETIME', KEYS[1])) -- a write, for replicas to confirm
  return {'again', now}
end
if found[1] ~= 'waiting' or now >= found[2] * 1000 then
  return {'taken', now}
end
if math.abs(now - ARGV[1] * 1000) > 5000 then
  return {'clock', now}
end
redis.call('SET', KEYS[2], ARGV[4], 'EXAT', ARGV[2])
redis.call('HSET', KEYS[1], 's', 'sealed', 'x', ARGV[2], 'ab', ARGV[5], unpack(ARGV, 6))
redis.call('EXPIREAT', KEYS[1], ARGV[3])
return {'answered', now}
