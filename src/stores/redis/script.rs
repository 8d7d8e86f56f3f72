//! The one way in which counters are written: compare and set, in Lua.

use ::redis::Script;

use crate::config::Target;

/// The arguments: the latest time, how many counters, their ids, the expected values, the new ones. Ids
/// stand in one row so that they can be handed on without a loop; loops cost more than the reads.
///
/// Refuses to run late. What was sent on a connection that has been given up since must not come
/// to effect behind the back of the next run (the error is [`LATE`]).
const HEAD: &str = "
if ARGV[1] ~= '' then
  local now = redis.call('TIME')
  if now[1] * 1000 + now[2] / 1000 > tonumber(ARGV[1]) then
    return redis.error_reply('RECOUNTDLATE it was to be applied before ' .. ARGV[1])
  end
end
local n = tonumber(ARGV[2])
local id, expected, new = 2, 2 + n, 2 + 2 * n
local held = {}
";

/// The code of the error with which a script refuses to run late.
pub const LATE: &str = "RECOUNTDLATE";

/// Answers 1 for each counter that held what was expected and was written, 0 for each that has
/// moved. Safe to repeat: a second call finds the new value instead of the expected one and changes
/// nothing. That a counter holds the new value already does not make it right: it may have got
/// there by a write that came after the snapshot, so it has moved like any other.
///
/// Whole numbers are compared as text, for Lua's numbers are exact to 2^53 only; those of a zset
/// are no longer than that, and `1e+17` is as good as its digits.
const COMPARE: &str = "
local function is(value, wanted)
  if wanted == '' then return not value end
  if not value or value == wanted then return value == wanted end
  return not string.match(value, '^-?[1-9]%d*$') and tonumber(value) == tonumber(wanted)
end
local done, set, gone = {}, {}, {}
for i = 1, n do
  if is(held[i], ARGV[expected + i]) then
    done[i] = 1
    if ARGV[new + i] == '' then gone[#gone + 1] = i else set[#set + 1] = i end
  else
    done[i] = 0
  end
end
";

const READ_ZSET: &str = "held = redis.call('ZMSCORE', KEYS[1], unpack(ARGV, 3, 2 + n))";
const READ_ZSET_SINGLY: &str = "
for i = 1, n do held[i] = redis.call('ZSCORE', KEYS[1], ARGV[id + i]) end";
const WRITE_ZSET: &str = "
local pairs, members = {}, {}
for at, i in ipairs(set) do
  pairs[2 * at - 1] = ARGV[new + i]
  pairs[2 * at] = ARGV[id + i]
end
for at, i in ipairs(gone) do members[at] = ARGV[id + i] end
if #pairs > 0 then redis.call('ZADD', KEYS[1], unpack(pairs)) end
if #members > 0 then redis.call('ZREM', KEYS[1], unpack(members)) end
return done";

const READ_HASH: &str = "held = redis.call('HMGET', KEYS[1], unpack(ARGV, 3, 2 + n))";
const WRITE_HASH: &str = "
local pairs, fields = {}, {}
for at, i in ipairs(set) do
  pairs[2 * at - 1] = ARGV[id + i]
  pairs[2 * at] = ARGV[new + i]
end
for at, i in ipairs(gone) do fields[at] = ARGV[id + i] end
if #pairs > 0 then redis.call('HSET', KEYS[1], unpack(pairs)) end
if #fields > 0 then redis.call('HDEL', KEYS[1], unpack(fields)) end
return done";

/// A key for each id; the id's place among the arguments holds the field.
const READ_FIELDS: &str = "
for i = 1, n do held[i] = redis.call('HGET', KEYS[i], ARGV[id + i]) end";
const WRITE_FIELDS: &str = "
for _, i in ipairs(set) do redis.call('HSET', KEYS[i], ARGV[id + i], ARGV[new + i]) end
for _, i in ipairs(gone) do redis.call('HDEL', KEYS[i], ARGV[id + i]) end
return done";

const READ_STRINGS: &str = "
for i = 1, n do held[i] = redis.call('GET', KEYS[i]) end";
const WRITE_STRINGS: &str = "
for _, i in ipairs(set) do redis.call('SET', KEYS[i], ARGV[new + i], 'KEEPTTL') end
for _, i in ipairs(gone) do redis.call('DEL', KEYS[i]) end
return done";

/// The script for a target. `singly`: the server has no ZMSCORE.
pub fn compare_and_set(target: &Target, singly: bool) -> Script {
    let (read, write) = match target {
        Target::Zset { .. } if singly => (READ_ZSET_SINGLY, WRITE_ZSET),
        Target::Zset { .. } => (READ_ZSET, WRITE_ZSET),
        Target::Hash { .. } => (READ_HASH, WRITE_HASH),
        Target::HashField { .. } => (READ_FIELDS, WRITE_FIELDS),
        Target::Text { .. } => (READ_STRINGS, WRITE_STRINGS),
    };
    Script::new(&[HEAD, read, COMPARE, write].concat())
}
