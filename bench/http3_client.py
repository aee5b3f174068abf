"""Uploads a file by libcurl (curl_cffi) over one version of HTTP: the same client for all three. Prints what came of it.

Run by `bench/http3` as `python http3_client.py VERSION CA FILE URL`; VERSION is 1, 2 or 3.
"""

import os
import sys

from curl_cffi import Curl, CurlHttpVersion, CurlInfo, CurlOpt

VERSIONS = {"1": CurlHttpVersion.V1_1, "2": CurlHttpVersion.V2TLS, "3": CurlHttpVersion.V3ONLY}


def main():
    version, ca, path, url = sys.argv[1:]
    curl = Curl()
    with open(path, "rb", buffering=0) as file:
        answer = bytearray()
        for option, value in (
            (CurlOpt.URL, url.encode()),
            (CurlOpt.CAINFO, ca.encode()),
            (CurlOpt.HTTP_VERSION, VERSIONS[version]),
            (CurlOpt.UPLOAD, 1),
            (CurlOpt.UPLOAD_BUFFERSIZE, 2 << 20),
            (CurlOpt.INFILESIZE_LARGE, os.path.getsize(path)),
            (CurlOpt.READFUNCTION, file.read),
            # Nobody waits to be asked.
            (CurlOpt.HTTPHEADER, [b"Expect:"]),
            (CurlOpt.WRITEFUNCTION, lambda piece: answer.extend(piece) or len(piece)),
        ):
            curl.setopt(option, value)
        curl.perform()
    status = curl.getinfo(CurlInfo.RESPONSE_CODE)
    spoken = curl.getinfo(CurlInfo.HTTP_VERSION)
    print(status, spoken, curl.getinfo(CurlInfo.TOTAL_TIME), file=sys.stdout)
    if status // 100 != 2:
        sys.stderr.write(answer[:500].decode(errors="replace"))


if __name__ == "__main__":
    main()
