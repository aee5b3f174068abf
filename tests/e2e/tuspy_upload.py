"""One upload with tuspy, as PyPI has it: `python tuspy_upload.py JOB`, where JOB is JSON. The CA is in the environment.

    endpoint    where to create uploads
    file        what to upload
    options     tuspy's own options for an uploader
    url         an upload to go on with
    remember    a file for tuspy's URL storage
    stop_at     to upload no more than the first so many bytes
    chunks      to upload no more than so many chunks
    asynchronous    with the uploader for asyncio

Prints one line of JSON: the URL and the offset."""

import asyncio
import json
import sys

from tusclient.client import TusClient
from tusclient.storage.filestorage import FileStorage

job = json.loads(sys.argv[1])
options = job.get("options", {})
if "remember" in job:
    options |= {"store_url": True, "url_storage": FileStorage(job["remember"])}
if "url" in job:
    options["url"] = job["url"]
client = TusClient(job["endpoint"])
if job.get("asynchronous"):

    async def upload():
        uploader = client.async_uploader(job["file"], **options)
        await uploader.upload(stop_at=job.get("stop_at"))
        return uploader

    uploader = asyncio.run(upload())
else:
    uploader = client.uploader(job["file"], **options)
    if "chunks" in job:
        for _ in range(job["chunks"]):
            uploader.upload_chunk()
    else:
        uploader.upload(stop_at=job.get("stop_at"))
print(json.dumps({"url": uploader.url, "offset": uploader.offset}))
