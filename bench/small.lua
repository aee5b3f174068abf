-- wrk script: sends a fixed number of small uploads, each under a name of its own, and says when the first request
-- began and the last answer came. Arguments after `--`: METHOD PREFIX COUNT BODY_FILE.
-- With the prefix "/uploads" and POST the server chooses the name.

local ffi = require("ffi")
ffi.cdef([[
  typedef struct { long seconds; long nanoseconds; } bench_timespec;
  int clock_gettime(int clock, bench_timespec *time);
]])

local function now()
  local time = ffi.new("bench_timespec")
  ffi.C.clock_gettime(1, time) -- CLOCK_MONOTONIC
  return tonumber(time.seconds) + tonumber(time.nanoseconds) * 1e-9
end

local method, prefix, wanted, body
local headers = { ["Content-Type"] = "application/octet-stream" }
local asked, answered, refused, began = 0, 0, 0, nil

function init(args)
  method, prefix, wanted = args[1], args[2], tonumber(args[3])
  local file = assert(io.open(args[4], "rb"))
  body = file:read("*a")
  file:close()
end

function request()
  asked = asked + 1
  -- wrk asks once before it connects, to see what a request looks like.
  if asked == 2 then began = now() end
  local path = method == "PUT" and (prefix .. asked) or prefix
  return wrk.format(method, path, headers, body)
end

function response(status)
  answered = answered + 1
  if status < 200 or status > 299 then
    refused = refused + 1
    refused_with = status
  end
  if answered == wanted then
    io.stdout:write(string.format("END %.6f %d %d\n", now() - began, refused, refused_with or 0))
    io.stdout:flush()
    wrk.thread:stop()
  end
end
