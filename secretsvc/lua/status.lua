#!lua flags=no-writes
-- How does a secret stand, for the ticket module, which knows it by its id and decides itself who may hear of it?
--
-- KEYS    1 receipt   2 record
-- ARGV    none
-- returns {now in ms, receipt fields and values or nothing, 1 (the record exists) | 0}
local time = redis.call('TIME')
return {time[1] * 1000 + math.floor(time[2] / 1000), redis.call('HGETALL', KEYS[1]), redis.call('EXISTS', KEYS[2])}
