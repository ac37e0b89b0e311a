#!lua
-- Begin a new epoch: everything sealed under an earlier one is ended from now on.
--
-- KEYS    1 epoch   2 sequence
-- ARGV    1 the new epoch's id   2 its number   3 "first" to begin only if there is none
-- returns {id, number, sequence} of the epoch that rules now
--
-- A number that is not higher than the present one changes nothing, so this is safe to repeat.
local present = redis.call('HMGET', KEYS[1], 'id', 'number')
if present[1] and (ARGV[3] == 'first' or tonumber(present[2]) >= tonumber(ARGV[2])) then
  return {present[1], tonumber(present[2]), tonumber(redis.call('GET', KEYS[2]) or 0)}
end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('HSET', KEYS[1], 'id', ARGV[1], 'number', ARGV[2], 'began', now, 'b' .. ARGV[2], now)
redis.call('SET', KEYS[2], 0)
return {ARGV[1], tonumber(ARGV[2]), 0}
