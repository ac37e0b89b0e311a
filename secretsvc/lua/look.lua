#!lua flags=no-writes
-- Whose token is this, and how does the secret stand?  The first step of every call about a secret.
--
-- KEYS    1 receipt   2 record
-- ARGV    1 SHA-256 of the bearer token   2 "1" to fetch the record too
-- returns {now in ms, role, receipt fields and values or nothing, record | 1 (it exists) | 0 (it does not)}
--         role: "link", "sender", "answerer", or "" for nobody
--
-- An unknown id and a wrong token take the same path: the same reads, the same comparisons, an answer of the
-- same shape.  Nothing of the record is touched before the token fits.
local hashes = redis.call('HMGET', KEYS[1], 't', 'r', 'a')
local role = ''
if hashes[1] == ARGV[1] then role = 'link' end
if hashes[2] == ARGV[1] then role = 'sender' end
if hashes[3] == ARGV[1] then role = 'answerer' end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if role == '' then
  return {now, role, {}, 0}
end
local record = false
if role == 'link' and ARGV[2] == '1' then
  record = redis.call('GET', KEYS[2])
end
return {now, role, redis.call('HGETALL', KEYS[1]), record or redis.call('EXISTS', KEYS[2])}
