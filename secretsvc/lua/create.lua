#!lua
-- Store a new secret or request, once for each id.
--
-- KEYS    1 receipt   2 record
-- ARGV    1 what the app takes for now, in s   2 expiry in s   3 end of the receipt in s
--         4 record, or "" for a request   5… receipt fields and values
-- returns {"created", now in ms} | {"clock", now in ms} (the app's clock is more than 5 s off; nothing stored)
--         | {"exists", now in ms, receipt fields and values} (nothing changed)
--
-- Safe to repeat: the second run finds the first one's receipt.  Both keys get their end in the same script.
-- A receipt that is there gets its own end once more: a write, for replicas to confirm all that came before it.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local receipt = redis.call('HGETALL', KEYS[1])
if #receipt > 0 then
  redis.call('PEXPIREAT', KEYS[1], redis.call('PEXPIRETIME', KEYS[1]))
  return {'exists', now, receipt}
end
if math.abs(now - ARGV[1] * 1000) > 5000 then
  return {'clock', now}
end
if ARGV[4] ~= '' then
  redis.call('SET', KEYS[2], ARGV[4], 'EXAT', ARGV[2])
end
redis.call('HSET', KEYS[1], unpack(ARGV, 5))
redis.call('EXPIREAT', KEYS[1], ARGV[3])
return {'created', now}
