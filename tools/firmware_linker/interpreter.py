"""What MicroPython's own modules and objects are called, so that no name of ours hides theirs."""

from typing import Final

# Written down, not looked up: the same sources must link to the same bytes on any machine.
# A test compares this with the VM. Modules of the chip are described in typings/.
_MODULES: Final = """
array asyncio binascii collections errno gc hashlib io json machine math micropython network
os random select socket ssl struct sys time
"""
_ATTRIBUTES: Final = """
_attrs _build _context _dequeue _enqueue _exc_context _exc_handler _io_queue _machine _mpy
_promote_to_task _stop_task _stopper _task_queue _thread a2b_base64 accept aclose acos acosh
acquire add any append appendleft args argv array asin asinh atan atan2 atanh atexit awrite
awritestr b2a_base64 bind byteorder calcsize call_exception_handler cancel ceil center chdir
choice clear clock close collect connect const copy copysign core coro cos cosh count crc32
create_task cur_task current_task data decode default_exception_handler degrees deque difference
difference_update digest disable discard done drain dump dumps e enable encode endswith erf erfc
errno errorcode event exc_info executable exit exp expm1 extend fabs factorial fileno find floor
flush fmod format frexp from_bytes fromhex fromkeys funcs gamma gather get get_event_loop
get_exception_handler get_extra_info getaddrinfo getcwd getenv getrandbits getvalue gmtime
heap_lock heap_unlock hex hexlify ilistdir implementation index inet_ntop inet_pton inf insert
intersection intersection_update ioctl ipoll is_set isalpha isclose isdigit isdisjoint isenabled
isfinite isinf islower isnan isspace issubset issuperset isupper items join kbd_intr keys ldexp
lgamma listdir listen load load_cert_chain load_verify_locations loads localtime lock locked log
log10 log2 lower lstrip makefile map maxsize md5 mem_alloc mem_current mem_free mem_info
mem_peak mem_total mkdir mkfs mktime modf modify modules mount name namedtuple nan
new_event_loop open open_connection opt_level out_buf pack pack_into partition path peek
pend_throw ph_key pi platform poll poller pop popitem popleft pow print_exception ps1 ps2 push
putenv qstr_info queue_read queue_write radians randint random randrange read readexactly
readinto readline readlines recv recvfrom register release remove rename replace reverse rfind
rindex rmdir rpartition rsplit rstrip run run_forever run_until_complete s schedule seed seek
select send sendall sendto sep set set_exception_handler setblocking setdefault setsockopt
settimeout sha1 sha256 sin sinh sleep sleep_ms sleep_us sockaddr socket sort split splitlines
sqrt stack_use start_server startswith stat state statvfs stderr stdin stdout stop stream strip
symmetric_difference symmetric_difference_update sys system tan tanh tau tell threshold throw
ticks ticks_add ticks_cpu ticks_diff ticks_ms ticks_us time time_ns tls to_bytes trunc umount
unhexlify uniform union unlink unpack unpack_from unregister unsetenv update upper urandom value
values verify_mode version version_info wait wait_closed wait_for wait_for_ms wait_io_event
waiting wrap_socket write
"""
MODULES: Final = frozenset(_MODULES.split())
ATTRIBUTES: Final = frozenset(_ATTRIBUTES.split())
