"""What mpremote runs on the board: MicroPython texts, each after a line that sets A."""

from typing import Final

# Each ends with `say(…)`, whose line the caller looks for. A watchdog that the firmware has
# started cannot be stopped, only given more time (WDT of the ESP32 port).
_HEAD: Final = """
import json,os
try:
 import machine
 machine.WDT(timeout=3600000)
except Exception:
 pass
def say(x):
 print('WW1:'+json.dumps(x))
def listed(d):
 try:
  return [(d+'/'+e[0],e[1]) for e in os.ilistdir(d or '/')]
 except OSError:
  return []
"""
_HASH: Final = """
import hashlib,binascii
def sha(p):
 try:
  with open(p,'rb') as f:
   d=hashlib.sha256()
   n=0
   while 1:
    b=f.read(1024)
    if not b:
     return n,binascii.hexlify(d.digest()).decode()
    n+=len(b)
    d.update(b)
 except OSError:
  return None
"""
# A: folders. Says sizes and hashes of the files in them, free space, what the interpreter is.
INVENTORY: Final = (
    _HEAD
    + _HASH
    + """
import sys
try:
 s=os.statvfs('/')
except OSError:
 s=[0]*4
say({'mpy':sys.implementation._mpy,'machine':sys.implementation._machine,
'free':s[0]*s[3],'total':s[0]*s[2],
'files':{p:sha(p) for d in A for p,k in listed(d) if k&0x8000}})
"""
)
# A: folders that must be there.
PREPARE: Final = (
    _HEAD
    + """
for d in A:
 try:
  os.mkdir(d)
 except OSError as e:
  if e.errno!=17:
   raise
say({})
"""
)
# A: [from, to, sha256] in order. Moves all when all are whole, else none.
COMMIT: Final = (
    _HEAD
    + _HASH
    + """
bad=[t for f,t,h in A if (sha(f) or (0,''))[1]!=h]
if not bad:
 for f,t,h in A:
  os.rename(f,t)
say({'bad':bad})
"""
)
# A: files and folders to remove, a folder with the files in it; a name with * at its end
# stands for all that begin so.
REMOVE: Final = (
    _HEAD
    + """
def gone(p):
 for q,k in listed(p):
  gone(q)
 try:
  os.remove(p)
 except OSError:
  try:
   os.rmdir(p)
  except OSError:
   pass
for p in A:
 if p[-1]=='*':
  for q,k in listed(p.rsplit('/',1)[0]):
   if q.startswith(p[:-1]):
    gone(q)
 else:
  gone(p)
say({})
"""
)
# A: path. Says the content in hex, null when there is no such file.
READ: Final = (
    _HEAD
    + """
import binascii
try:
 with open(A,'rb') as f:
  x=binascii.hexlify(f.read(16384)).decode()
except OSError:
 x=None
say({'hex':x})
"""
)
