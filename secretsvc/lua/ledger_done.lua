#!lua
-- The winner has what it came for: close its retry window at once.
--
-- KEYS    1 entry   2 epoch
-- ARGV    1 the record's epoch   2 claimant
-- returns {"done" | "open" (nobody has ended it) | "ended" (by somebody else) | "epoch" | "behind",
--          state, ended at in ms}
--
-- Safe to repeat.  It only ever takes away.
local epoch = redis.call('HGET', KEYS[2], 'id')
if not epoch then return {'behind', '', 0} end
if struct.unpack('>I4', epoch) < struct.unpack('>I4', ARGV[1]) then return {'behind', '', 0} end
local state, claimant, at = unpack(redis.call('HMGET', KEYS[1], 's', 'c', 't'))
if not state and epoch ~= ARGV[1] then
  local began = redis.call('HGET', KEYS[2], 'b' .. struct.unpack('>I4', ARGV[1]) + 1)
  return {'epoch', 'revoked', tonumber(began or redis.call('HGET', KEYS[2], 'began'))}
end
if not state then return {'open', '', 0} end
if state ~= 'opened' or claimant ~= ARGV[2] then return {'ended', state, tonumber(at)} end
redis.call('HSET', KEYS[1], 'd', 1)
return {'done', state, tonumber(at)}
