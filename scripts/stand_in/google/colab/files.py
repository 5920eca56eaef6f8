"""Files between the runtime and the reader's computer. Both need a browser, which a check does not have."""


def upload():
    raise RuntimeError("files.upload() waits for a browser: no notebook of the course may call it")


def download(filename):
    raise RuntimeError(f"files.download({filename!r}) needs a browser: no notebook of the course may call it")
