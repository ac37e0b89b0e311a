#!lua
-- Begin a new epoch: everything sealed under an earlier one of this node is ended from now on.
--
-- KEYS    1 epoch   2 sequence
-- ARGV    1 the new epoch, or "" to begin none   2 its number   3 "first" to begin only if there is none
--         4… epochs of lost nodes: this node answers for them from now on, and they are over
-- returns 1
--
-- A number that is not higher than the present one begins nothing, so this is safe to repeat.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
for i = 4, #ARGV do
  redis.call('HSETNX', KEYS[1], 'f' .. ARGV[i], now)
end
local present, number = unpack(redis.call('HMGET', KEYS[1], 'id', 'number'))
if ARGV[1] == '' or (present and (ARGV[3] == 'first' or tonumber(number) >= tonumber(ARGV[2]))) then
  return 1
end
if present then
  redis.call('HSET', KEYS[1], 'f' .. present, now)
end
redis.call('HSET', KEYS[1], 'id', ARGV[1], 'number', ARGV[2])
redis.call('SET', KEYS[2], 0)
return 1
