"""A report as one page of HTML that needs nothing else"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from statewise.check.report import Report, Row

WORDS = {
    "ok": "as expected",
    "surprise": "surprising",
    "wrong": "wrong",
    "raised": "raised an error",
    "unknown": "not asked",
}
STYLE = """
:root { color-scheme: light dark; --line: #d8dee4; --dim: #57606a; --ok: #1a7f37;
  --surprise: #8a5a00; --wrong: #b3261e; --ground: #fff; --text: #1f2328; --code: #f3f5f7; }
@media (prefers-color-scheme: dark) { :root { --line: #30363d; --dim: #9aa4af; --ok: #56d364;
  --surprise: #e3b341; --wrong: #ff8a80; --ground: #0d1117; --text: #e6edf3; --code: #161b22; } }
body { font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 62rem; padding: 0 1rem;
  background: var(--ground); color: var(--text); }
h1 { font-size: 1.5rem; margin: 2rem 0 .2rem; overflow-wrap: anywhere; }
p { margin: .2rem 0; color: var(--dim); }
table { border-collapse: collapse; width: 100%; margin: 1rem 0 3rem; table-layout: fixed; }
td, th { text-align: left; vertical-align: top; padding: .6rem .5rem;
  border-top: 1px solid var(--line); overflow-wrap: anywhere; }
th:first-child { width: 28%; } th:nth-child(2) { width: 7.5rem; }
code { background: var(--code); padding: .1rem .3rem; border-radius: 4px; font-size: .88em; }
.dim { color: var(--dim); font-size: .88em; }
.ok { color: var(--ok); } .surprise { color: var(--surprise); }
.wrong, .raised, .failure { color: var(--wrong); font-weight: 600; } .unknown { color: var(--dim); }
@media (max-width: 40rem) { thead { display: none; } td { display: block; border: 0;
  padding: .1rem .5rem; } tr { display: block; border-top: 1px solid var(--line);
  padding: .5rem 0; } }
"""


def render_page(reports: Sequence[Report]) -> str:
    """A whole page with the reports one after the other."""
    body = "\n".join(_render_report(report) for report in reports)
    title = escape(f"What {reports[0].target} does with its state")
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<style>{STYLE}</style></head>\n<body><main>\n{body}\n</main></body></html>\n"
    )


def _render_report(report: Report) -> str:
    rows = "\n".join(_render_row(row) for row in report.sort_by_urgency())
    failures = "".join(f'<p class="failure">Not met: {escape(one)}</p>' for one in report.failures)
    return (
        f"<h1>{escape(report.target)}</h1>\n"
        f"<p>{escape(report.framework)}; {escape(', '.join(report.layers))}</p>\n"
        f"<p>{report.summary}</p>{failures}\n"
        '<table><thead><tr><th scope="col">question</th><th scope="col">verdict</th>'
        f'<th scope="col">seen</th></tr></thead>\n<tbody>\n{rows}\n</tbody></table>'
    )


def _render_row(row: Row) -> str:
    seen = [escape(row.seen)]
    if row.verdict not in ("ok", "unknown"):
        seen.append(f'<span class="dim">Expected: {escape(row.expected)}</span>')
        if row.advice:
            seen.append(f"What to do: {escape(row.advice)}.")
        if row.code:
            seen.append(f"<code>{escape(row.code)}</code>")
    return (
        f'<tr><td>{escape(row.question)}<br><span class="dim">{escape(row.fact)}</span></td>'
        f'<td class="{row.verdict}">{WORDS[row.verdict]}</td><td>{"<br>".join(seen)}</td></tr>'
    )
