#!lua flags=no-writes
-- Has this secret ended?  Changes nothing.
--
-- KEYS    1 entry   2 epoch   3 sequence
-- ARGV    1 the record's epoch   2 the epoch that the app has seen rule here   3 highest sequence it has seen then
-- returns {verdict, the epoch that rules, sequence, now in ms, state, ended at in ms, claimant,
--          window began in ms}
--         "ended" | "open" | "epoch" | "behind", as ledger_end.lua says
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local epoch, followed, over = unpack(redis.call('HMGET', KEYS[2], 'id', 'f' .. ARGV[2], 'f' .. ARGV[1]))
local sequence = tonumber(redis.call('GET', KEYS[3]) or 0)
if not epoch or (epoch ~= ARGV[2] and not followed) or (epoch == ARGV[2] and sequence < tonumber(ARGV[3]))
  or (epoch ~= ARGV[1] and not over) then
  return {'behind', epoch or '', sequence, now, '', 0, '', 0}
end
local state, claimant, at, repeated = unpack(redis.call('HMGET', KEYS[1], 's', 'c', 't', 'r'))
if state then
  return {'ended', epoch, sequence, now, state, tonumber(at), claimant, tonumber(repeated or at)}
end
if epoch ~= ARGV[1] then
  return {'epoch', epoch, sequence, now, 'revoked', tonumber(over), '', 0}
end
return {'open', epoch, sequence, now, '', 0, '', 0}
