"""How the page looks: in light and dark, on a desk and on a phone."""

STYLE = """
:root { color-scheme: light dark; --ink: #1d2433; --soft: #5d6b82; --line: #dbe1ea; --paper: #fff; --card: #f6f8fb;
  --c0: #1f6feb; --c1: #d97706; --c2: #15803d; --c3: #9333ea; --c4: #dc2626; --c5: #0e7490; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6eaf2; --soft: #9aa7bd; --line: #323c4e; --paper: #12161f;
  --card: #1b212d; --c0: #6ea8fe; --c1: #fbbf24; --c2: #4ade80; --c3: #c084fc; --c4: #f87171; --c5: #22d3ee; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1.6rem 1rem 3rem; max-width: 960px; color: var(--ink); background: var(--paper);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
h1 { margin: 0; font-size: 1.6rem; overflow-wrap: anywhere; } h2 { margin: 2.4rem 0 .5rem; font-size: 1.2rem; }
h3 { margin: 0 0 .4rem; font-size: 1rem; overflow-wrap: anywhere; }
p { margin: .3rem 0 .8rem; } .soft { color: var(--soft); } li { overflow-wrap: anywhere; }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: .7rem; margin: 1.2rem 0; }
.card { padding: .8rem 1rem; border: 1px solid var(--line); border-radius: 10px; background: var(--card); }
.card span { display: block; color: var(--soft); font-size: .85rem; } .card strong { font-size: 1.35rem; }
.card em { display: block; color: var(--soft); font-style: normal; font-size: .85rem; }
.pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 330px), 1fr)); gap: 1rem; }
figure { margin: 0; padding: .8rem; border: 1px solid var(--line); border-radius: 10px; min-width: 0; }
figure svg { display: block; width: 100%; max-width: 560px; height: auto; }
details { margin: .3rem 0 .8rem; } summary { cursor: pointer; color: var(--c0); }
.findings { padding: 0; list-style: none; } .findings li { margin: .4rem 0; padding: .5rem .9rem;
  border-left: 4px solid var(--c2); border-radius: 4px; background: var(--card); }
.findings .care { border-color: var(--c1); } .findings .stop { border-color: var(--c4); }
.scroll { overflow-x: auto; } table { border-collapse: collapse; width: 100%; font-size: .93rem; }
th, td { padding: .35rem .7rem .35rem 0; text-align: left; vertical-align: top;
  overflow-wrap: break-word; border-bottom: 1px solid var(--line); }
th { color: var(--soft); font-weight: 600; } td { font-variant-numeric: tabular-nums; }
.confusion { width: auto; }
.confusion td { background: color-mix(in srgb, var(--c0) calc(var(--s) * 60%), transparent); padding: .35rem .6rem; }
.confusion i { display: block; font-style: normal; font-size: .8rem; color: var(--soft); }
svg text { font: 11px system-ui, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; fill: var(--soft);
  text-anchor: middle; }
svg .end { text-anchor: end; } svg .begin { text-anchor: start; } svg .label { fill: var(--ink); }
.grid { stroke: var(--line); fill: none; } .even { stroke: var(--soft); stroke-dasharray: 4 4; fill: none; }
.line { fill: none; stroke-width: 2; } .bar { fill: var(--c0); }
.cloud { fill: none; stroke: var(--c0); stroke-width: 3.4; stroke-linecap: round; opacity: .35; }
.c0 { stroke: var(--c0); } .c1 { stroke: var(--c1); } .c2 { stroke: var(--c2); } .c3 { stroke: var(--c3); }
.c4 { stroke: var(--c4); } .c5 { stroke: var(--c5); } .dot { fill: var(--paper); stroke-width: 2; }
.key { display: flex; flex-wrap: wrap; gap: .3rem 1rem; margin: .3rem 0 0; font-size: .85rem; }
.key span::before { content: ""; display: inline-block; width: 1.1em; height: .28em; margin-right: .4em;
  vertical-align: .25em; background: currentColor; }
.key .c0 { color: var(--c0); } .key .c1 { color: var(--c1); } .key .c2 { color: var(--c2); }
.key .c3 { color: var(--c3); } .key .c4 { color: var(--c4); } .key .c5 { color: var(--c5); }
@media (max-width: 480px) { svg text { font-size: 13px; } table { font-size: .82rem; }
  th, td { padding-right: .4rem; } }
pre { overflow-x: auto; padding: .8rem; border-radius: 10px; background: var(--card); border: 1px solid var(--line);
  font-size: .85rem; }
"""
