"A pretended ONNX Runtime Web: two small files that the web app takes for the real ones, where no browser runs them"
import hashlib

from course_lib.apps import web_app
from course_lib.data.fetch import Expected


def pretend_runtime(folder, monkeypatch):
    "Write the files into a new folder and pin them in place of the real ones; the folder"
    folder.mkdir()
    pinned = {}
    for name, (original, _) in web_app.RUNTIME.items():
        content = f"export const name = '{name}';".encode()
        (folder/original).write_bytes(content)
        pinned[name] = original, Expected(len(content), hashlib.sha256(content).hexdigest(), by="the test")
    monkeypatch.setattr(web_app, "RUNTIME", pinned)
    return folder
