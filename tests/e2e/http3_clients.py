"""Clients of others that speak HTTP/3, each in a way of its own. Run by `http3` with the Python that has them.

    python http3_clients.py CLIENT CA FILE URL TOKEN

uploads FILE to URL/uploads/, fetches it again with the token, in whole and in part, and prints a JSON line of what came of it.
"""

import hashlib
import json
import sys
import time
from pathlib import Path


def by_niquests(ca, content, url, headers):
    """Pure HTTP/3 after the first answer, which came over TCP and said where it is."""
    import niquests

    with niquests.Session() as session:
        # Authorities of the environment would win over it.
        session.trust_env = False
        session.verify = ca
        yield "first", session.get(f"{url}/recipients")
        # The library learns of it in the background.
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            again = session.get(f"{url}/recipients")
            if again.http_version == 30:
                break
            time.sleep(0.05)
        yield "again", again
        put = session.put(f"{url}/uploads/from-niquests", data=content)
        yield "put", put
        at = f"{url}/uploads/{put.json()['id']}"
        yield "get", session.get(at, headers=headers)
        yield "range", session.get(at, headers=headers | {"Range": "bytes=1000-1999"})


def by_curl_cffi(ca, content, url, headers):
    """libcurl with ngtcp2: HTTP/3 and nothing else."""
    from curl_cffi import requests

    with requests.Session(verify=ca, http_version="v3only", timeout=60) as session:
        yield "again", session.get(f"{url}/recipients")
        put = session.put(f"{url}/uploads/from-curl", data=content)
        yield "put", put
        at = f"{url}/uploads/{put.json()['id']}"
        yield "get", session.get(at, headers=headers)
        yield "range", session.get(at, headers=headers | {"Range": "bytes=1000-1999"})
        yield "too large", session.put(f"{url}/uploads/large", data=bytes(8 << 20))


def main():
    name, ca, path, url, token = sys.argv[1:]
    content = Path(path).read_bytes()
    clients = {"niquests": by_niquests, "curl_cffi": by_curl_cffi}
    said = {}
    for what, answer in clients[name](ca, content, url, {"Authorization": f"Bearer {token}"}):
        said[what] = {
            "status": answer.status_code,
            "version": int(answer.http_version),
            "alt_svc": answer.headers.get("alt-svc"),
            "sha256": hashlib.sha256(answer.content).hexdigest(),
        }
    print(json.dumps(said))


if __name__ == "__main__":
    main()
