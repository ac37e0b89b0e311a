#!lua flags=allow-oom
-- Reserve one try at the password before Argon2 runs.
--
-- KEYS    1 receipt
-- ARGV    1 name of this try   2 how many wrong passwords lock it   3 how long a reservation holds, in ms
-- returns {"ok" | "locked" | "pending" (every try left is being tried just now) | "gone" (there is no such secret
--          any more), ms until one runs out or 0}
--
-- Counting wrong and pending tries together, before the work, is what keeps 200 parallel guesses within the
-- cap.  A reservation that nobody settles stops counting by itself; it is kept ten minutes longer, so that a
-- late verdict still counts.  Safe to repeat: the try's name is its own.  It must also run on a full store, or
-- the cap would not hold there.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local fields = redis.call('HGETALL', KEYS[1])
local cap, used, pending, soonest, state = tonumber(ARGV[2]), 0, 0, nil, nil
for i = 1, #fields, 2 do
  local name, value = fields[i], fields[i + 1]
  if name == 's' then
    state = value
  elseif name == 'n' then
    used = tonumber(value)
  elseif name == 'p' .. ARGV[1] then
    return {'ok', 0}
  elseif #name > 1 and string.sub(name, 1, 1) == 'p' then
    local left = tonumber(value) - now
    if left > 0 then
      pending = pending + 1
      if not soonest or left < soonest then soonest = left end
    elseif left < -600000 then
      redis.call('HDEL', KEYS[1], name)
    end
  end
end
if not state then
  return {'gone', 0}
end
if state == 'locked' or used >= cap then
  if state == 'sealed' then
    redis.call('HSET', KEYS[1], 's', 'locked') -- the cap was lowered since; now the sender can unlock it
  end
  return {'locked', 0}
end
if used + pending >= cap then
  return {'pending', soonest}
end
redis.call('HSET', KEYS[1], 'p' .. ARGV[1], now + ARGV[3])
return {'ok', 0}
