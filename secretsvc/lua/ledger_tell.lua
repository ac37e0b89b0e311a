#!lua flags=no-writes
-- What does this node say of itself?
--
-- KEYS    1 epoch   2 sequence
-- ARGV    none
-- returns {how many ends the ruling epoch has seen, fields and values of the epoch's key}
--
-- In one step: an epoch begun between two would make the one before look as if it had lost its ends.
return {tonumber(redis.call('GET', KEYS[2]) or 0), redis.call('HGETALL', KEYS[1])}
