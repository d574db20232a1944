"""The page on which a person sees every automatic prompt, corrects one, and lets the correction travel.

server.py        one address, one token, until it is stopped; sockets.py bounds its connections in number and time
guard.py         who may ask: host, origin, token, size; the headers of every answer
app.py           what is answered; requests.py what may be asked, refusals.py what is not answered
events.py        long work whose results reach the page one by one
workspace.py     the scans and the one that is open (open_scan.py); folder.py where they and the results lie
review.py        what a person should look at in a result, from CASE.json
opening.py       a scan and a model become a session (sautomed.editing), if memory suffices
demo.py          a phantom to try it on
grey.py, run_lengths.py   intensities and labels as they travel
page/            HTML, CSS and ES modules; nothing is built, and nothing is fetched from elsewhere

Needs the extra [studio]: FastAPI and uvicorn.
"""

from sautomed.studio.start import require_packages, start_studio

__all__ = ["require_packages", "start_studio"]
