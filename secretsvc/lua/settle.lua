#!lua flags=allow-oom
-- Settle a reserved try: a wrong password counts, anything else gives the try back.
--
-- KEYS    1 receipt
-- ARGV    1 name of the try   2 "wrong" or "back"   3 how many wrong passwords lock it
-- returns how many wrong passwords there have been
--
-- Only the run that removes the reservation counts, so a repeat changes nothing.
local removed = redis.call('HDEL', KEYS[1], 'p' .. ARGV[1])
if removed == 1 and ARGV[2] == 'wrong' then
  local used = redis.call('HINCRBY', KEYS[1], 'n', 1)
  if used >= tonumber(ARGV[3]) and redis.call('HGET', KEYS[1], 's') == 'sealed' then
    redis.call('HSET', KEYS[1], 's', 'locked')
  end
end
return tonumber(redis.call('HGET', KEYS[1], 'n') or 0)
