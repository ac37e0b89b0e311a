#!lua flags=no-writes
-- Has this secret ended?  Changes nothing.
--
-- KEYS    1 entry   2 epoch   3 sequence
-- ARGV    1 the record's epoch   2 newest epoch number the app has seen   3 highest sequence it has seen there
-- returns {verdict, node's epoch, sequence, now in ms, state, ended at in ms, claimant}
--         "ended" | "open" | "epoch" | "behind", as ledger_end.lua says
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local epoch = redis.call('HMGET', KEYS[2], 'id', 'number', 'began')
local sequence = tonumber(redis.call('GET', KEYS[3]) or 0)
if not epoch[1] or tonumber(epoch[2]) < tonumber(ARGV[2])
  or (tonumber(epoch[2]) == tonumber(ARGV[2]) and sequence < tonumber(ARGV[3])) then
  return {'behind', epoch[1] or '', sequence, now, '', 0, ''}
end
local state, claimant, at = unpack(redis.call('HMGET', KEYS[1], 's', 'c', 't'))
if state then
  return {'ended', epoch[1], sequence, now, state, tonumber(at), claimant}
end
if epoch[1] ~= ARGV[1] then
  local began = redis.call('HGET', KEYS[2], 'b' .. struct.unpack('>I4', ARGV[1]) + 1) or epoch[3]
  return {'epoch', epoch[1], sequence, now, 'revoked', tonumber(began), ''}
end
return {'open', epoch[1], sequence, now, '', 0, ''}
