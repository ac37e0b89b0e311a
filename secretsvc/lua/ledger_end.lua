#!lua
-- End a secret: the one decision, taken once, on the ledger's clock.  Nothing else decides.
--
-- KEYS    1 entry   2 epoch   3 sequence
-- ARGV    1 the record's epoch   2 the epoch that the app has seen rule here   3 highest sequence it has seen then
--         4 "opened" or "revoked"   5 claimant   6 the record's expiry in ms   7 retry window in ms
--         8 end of the entry in ms
-- returns {verdict, the epoch that rules, sequence, now in ms, state, ended at in ms, claimant, window began in ms}
--         "won" | "again" (the winner, within its window) | "ended" (by somebody else, or the window is over)
--         | "expired" | "epoch" (a later epoch of this node rules; ended at: when the next one began)
--         | "behind" (this node is not what the app has seen, or never had the record's epoch: nothing decided)
--
-- The order is the promise.  A node that is empty, another, or older than what the app has seen says nothing; an
-- entry answers before a new epoch and before the clock do, so a true end is never told as another; and the HSET
-- below is the only commit.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local epoch, followed, over = unpack(redis.call('HMGET', KEYS[2], 'id', 'f' .. ARGV[2], 'f' .. ARGV[1]))
local sequence = tonumber(redis.call('GET', KEYS[3]) or 0)
if not epoch or (epoch ~= ARGV[2] and not followed) or (epoch == ARGV[2] and sequence < tonumber(ARGV[3]))
  or (epoch ~= ARGV[1] and not over) then
  return {'behind', epoch or '', sequence, now, '', 0, '', 0}
end
local state, claimant, at, repeated, done = unpack(redis.call('HMGET', KEYS[1], 's', 'c', 't', 'r', 'd'))
if state then
  local mine = state == ARGV[4] and claimant == ARGV[5]
  local again = mine and state == 'revoked'
  if mine and state == 'opened' and epoch == ARGV[1] and not done and now < tonumber(ARGV[6]) then
    again = now <= tonumber(repeated or at) + tonumber(ARGV[7])
    -- The app's own repeat of a call comes within 2.5 s; it is not its caller's.
    if again and not repeated and now > tonumber(at) + 3000 then
      repeated = now
      redis.call('HSET', KEYS[1], 'r', now)
    end
  end
  return {again and 'again' or 'ended', epoch, sequence, now, state, tonumber(at), claimant, tonumber(repeated or at)}
end

if epoch ~= ARGV[1] and tonumber(over) < tonumber(ARGV[6]) then
  return {'epoch', epoch, sequence, now, 'revoked', tonumber(over), '', 0}
end
if epoch ~= ARGV[1] or now >= tonumber(ARGV[6]) then
  return {'expired', epoch, sequence, now, 'expired', tonumber(ARGV[6]), '', 0}
end

redis.call('HSET', KEYS[1], 's', ARGV[4], 'c', ARGV[5], 't', now)
redis.call('PEXPIREAT', KEYS[1], ARGV[8])
return {'won', epoch, redis.call('INCR', KEYS[3]), now, ARGV[4], now, ARGV[5], now}
