"""A client of resumable uploads, by tus 1.0.0 or by the IETF draft: create, ask, append."""

import base64
import json

from sealslot import Failed

TUS = {"Tus-Resumable": "1.0.0"}


class Refused(Failed):
    """An answer that was not the one that success has."""

    def __init__(self, what, status, headers, answer):
        super().__init__(f"{what} was answered {status}: {answer.decode(errors='replace').strip()[:300]}")
        self.status = status
        self.headers = headers
        self.answer = answer


class Resumable:
    """One upload of `size` bytes, created with the object. It goes on after the server was started again. Every request
    has a connection of its own, unless `client` is set to one."""

    def __init__(self, server, size, name="file", draft=False):
        self.server = server
        self.size = size
        self.draft = draft
        self.client = None
        if draft:
            headers = {"Upload-Complete": "?0", "Upload-Length": str(size)}
            headers["Content-Disposition"] = f'attachment; filename="{name}"'
        else:
            headers = {"Upload-Length": str(size)}
            headers["Upload-Metadata"] = f"filename {base64.b64encode(name.encode()).decode()}"
        headers, _ = self.ask("POST", 201, headers, path="/uploads")
        self.path = headers["Location"]

    def ask(self, method, expected, headers=None, body=None, path=None):
        """One request, which must get this status. Gives the headers and the body of the answer."""
        headers = (headers or {}) | ({} if self.draft else TUS)
        status, answer_headers, answer = self.server.request(method, path or self.path, body, headers, client=self.client)
        if status != expected:
            raise Refused(f"{method} by {'the draft' if self.draft else 'tus'}", status, answer_headers, answer)
        return answer_headers, answer

    def head(self):
        """The offset, and whether the upload is finished."""
        headers, _ = self.ask("HEAD", 204 if self.draft else 200)
        offset = int(headers["Upload-Offset"])
        return offset, headers["Upload-Complete"] == "?1" if self.draft else offset == self.size

    def patch(self, offset, body, length=None, complete=None):
        """Appends at `offset`; `body` is bytes, or with `length` anything that yields them. By the draft the upload
        is complete when `complete` says so, else when its length is reached. Gives the new offset."""
        length = len(body) if length is None else length
        complete = offset + length == self.size if complete is None else complete
        headers = {"Upload-Offset": str(offset), "Content-Length": str(length)}
        if self.draft:
            headers |= {"Content-Type": "application/partial-upload", "Upload-Complete": f"?{complete:d}"}
        else:
            headers["Content-Type"] = "application/offset+octet-stream"
        headers, _ = self.ask("PATCH", 201 if self.draft and complete else 204, headers, body)
        return int(headers["Upload-Offset"])

    def patch_chunked(self, offset, pieces):
        """Appends at `offset` what is not to be the end, and does not say how much it is. Gives the new offset."""
        headers = {"Upload-Offset": str(offset), "Content-Type": "application/offset+octet-stream"}
        if self.draft:
            headers |= {"Content-Type": "application/partial-upload", "Upload-Complete": "?0"}
        headers, _ = self.ask("PATCH", 204, headers, pieces)
        return int(headers["Upload-Offset"])

    def receipt(self):
        """The receipt of a finished upload."""
        _, answer = self.ask("GET", 200)
        return json.loads(answer)
