// One upload with tus-js-client, as npm has it: `node tus_clients.mjs JOB`, where JOB is JSON.
//
//   library     the folder that it was installed into
//   file        what to upload
//   as          "buffer", "file" (a stream that knows its file) or "stream" (one that knows nothing)
//   options     the library's own options
//   pauseAt     abort after so many bytes, and go on after `pause` ms: with the same object, or, with `remember` (a file for
//               the library's URL storage), with a new one that finds the upload again
//   terminate   abort at pauseAt for good, and have the upload deleted
//
// Prints one line of JSON: the URLs, the requests as `METHOD status`, and the last answer's headers; or exits with 1.

import { createReadStream, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { PassThrough } from 'node:stream'

const job = JSON.parse(process.argv[2])
const tus = createRequire(`${job.library}/`)('tus-js-client')

const requests = []
const urls = []

function source() {
  if (job.as === 'buffer') return readFileSync(job.file)
  const stream = createReadStream(job.file)
  return job.as === 'file' ? stream : stream.pipe(new PassThrough())
}

// One upload until it succeeds, fails, or has sent pauseAt bytes.
function start(upload, pauseAt) {
  return new Promise((resolve, reject) => {
    upload.options.onSuccess = ({ lastResponse }) => resolve(lastResponse)
    upload.options.onError = reject
    upload.options.onProgress = (sent) => {
      if (pauseAt === undefined || sent < pauseAt) return
      pauseAt = undefined
      upload.abort(Boolean(job.terminate)).then(() => resolve(null), reject)
    }
    upload.start()
  })
}

function make() {
  const upload = new tus.Upload(source(), {
    ...job.options,
    ...(job.remember ? { urlStorage: new tus.FileUrlStorage(job.remember) } : {}),
    onUploadUrlAvailable() {
      urls.push(upload.url)
    },
    onAfterResponse(request, response) {
      requests.push(`${request.getMethod()} ${response.getStatus()}`)
    },
  })
  return upload
}

let upload = make()
let last = await start(upload, job.pauseAt)
if (last === null && !job.terminate) {
  await new Promise((resolve) => setTimeout(resolve, job.pause ?? 100))
  if (job.remember) {
    upload = make()
    const found = await upload.findPreviousUploads()
    if (found.length !== 1) throw new Error(`the URL storage knows ${found.length} uploads`)
    upload.resumeFromPreviousUpload(found[0])
  }
  last = await start(upload)
}
console.log(JSON.stringify({ url: upload.url, urls, requests, headers: last?.getUnderlyingObject().headers }))
// Connections that are kept alive would keep the process, too.
process.exit(0)
