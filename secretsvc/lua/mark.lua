#!lua flags=allow-oom
-- Write down what the ledger has decided, and shorten the record's life.
--
-- KEYS    1 receipt   2 record
-- ARGV    1 "opened" or "revoked"   2 when, in s   3 how long the record may still live, in ms
--         4 the reserved try to give back, or ""
--         5 "again" if the winner's window has begun anew, which it does once
--         6 the claimant: if an agent's name was noted under it, it was that agent who collected the answer
-- returns 1
--
-- Safe to repeat, by anybody who sees that the ledger has ended it: but for "again" a life is never lengthened,
-- and the first mark stays.  It frees before it writes, so it also runs on a full store.
local life = tonumber(ARGV[3])
if life <= 0 then
  redis.call('DEL', KEYS[2])
elseif ARGV[5] == 'again' or redis.call('PTTL', KEYS[2]) > life then
  redis.call('PEXPIRE', KEYS[2], life)
end
if ARGV[4] ~= '' then
  redis.call('HDEL', KEYS[1], 'p' .. ARGV[4])
end
local state = redis.call('HGET', KEYS[1], 's')
if state and state ~= 'opened' and state ~= 'revoked' then
  redis.call('HSET', KEYS[1], 's', ARGV[1], 'e', ARGV[2])
  local name = ARGV[1] == 'opened' and ARGV[6] ~= '' and redis.call('HGET', KEYS[1], 'w' .. ARGV[6])
  if name then
    redis.call('HSET', KEYS[1], 'w', name)
  end
end
return 1
