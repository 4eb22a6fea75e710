"""Opens a report.html in headless Chromium: no request, no console error, every plot drawn, names for everything.

    apt-get install chromium; pip install websocket-client
    python tests/peers/report_page.py runs/synthetic-av/report.html
"""
import json
import pathlib
import subprocess
import sys
import tempfile
import time
import urllib.request

import websocket

page = pathlib.Path(sys.argv[1]).resolve()
folder = tempfile.mkdtemp()
chromium = subprocess.Popen(
    ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-port=9333",
     "--remote-allow-origins=*", f"--user-data-dir={folder}", "about:blank"],
    stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
try:
    for _ in range(50):
        try:
            tabs = json.load(urllib.request.urlopen("http://127.0.0.1:9333/json"))
            break
        except OSError:
            time.sleep(0.2)
    socket = websocket.create_connection(next(t for t in tabs if t["type"] == "page")["webSocketDebuggerUrl"])
    number, events = 0, []

    def call(method, **params):
        global number
        number += 1
        socket.send(json.dumps({"id": number, "method": method, "params": params}))
        while True:
            message = json.loads(socket.recv())
            if message.get("id") == number:
                return message.get("result", message)
            events.append(message)

    def value(script):
        found = call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        return found["result"].get("value")

    for domain in ["Page", "Runtime", "Network", "Log"]:
        call(f"{domain}.enable")
    started = time.time()
    call("Page.navigate", url=page.as_uri())
    while value("document.readyState") != "complete":
        time.sleep(0.02)
    opened = time.time() - started
    time.sleep(0.5)
    problems = []
    for event in events:
        method, params = event.get("method"), event.get("params", {})
        if method in ("Runtime.exceptionThrown", "Log.entryAdded"):
            problems.append(f"console: {json.dumps(params)[:300]}")
        if method == "Network.requestWillBeSent":
            url = params["request"]["url"]
            if not url.startswith(("file:", "data:")):
                problems.append(f"a request leaves the page: {url}")
    checks = {
        "charts without a line": "[...document.querySelectorAll('.chart>svg')].filter(s=>!s.querySelector('polyline')).length",
        "images without words": "[...document.querySelectorAll('img:not([alt]),svg[role=img]:not([aria-label]),video:not([aria-label]),audio:not([aria-label])')].length",
        "inputs without a label": "[...document.querySelectorAll('input')].filter(i=>!i.labels.length).length",
        "broken images": "[...document.images].filter(i=>!i.naturalWidth).length",
        "links that lead nowhere": "[...document.querySelectorAll('nav a')].filter(a=>!document.querySelector(a.hash)).length",
        "wider than the window": "document.documentElement.scrollWidth>document.documentElement.clientWidth?1:0",
        "page without a language": "document.documentElement.lang?0:1",
    }
    problems += [f"{name}: {count}" for name, script in checks.items() if (count := value(script))]
    clips = value("document.querySelectorAll('video,audio').length")
    if clips:
        played = value(
            "(async()=>{const c=document.querySelector('video,audio');c.muted=true;await c.play();"
            "await new Promise(r=>setTimeout(r,700));return c.currentTime})()")
        if not played:
            problems.append("the first clip does not play")
    size = page.stat().st_size / 1e6
    print(f"{page.name}: {size:.2f} MB, opened in {opened:.2f} s, {clips} clips, {len(problems)} problems")
    print("\n".join(problems))
    sys.exit(1 if problems else 0)
finally:
    chromium.kill()
