"""The report page's style sheet: light and dark, readable on narrow screens, no font or file from elsewhere."""

STYLE = """
:root {
  color-scheme: light dark;
  --ground: #ffffff; --raised: #f5f6f8; --ink: #1b1f24; --faint: #626b76; --line: #dde1e6; --accent: #1f6fb2; --bar: #cfe0f0;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ground: #0f1215; --raised: #191d22; --ink: #e3e7eb; --faint: #98a2ad; --line: #2b3138; --accent: #6db3ee; --bar: #24425c;
  }
}
* { box-sizing: border-box; }
html { scroll-behavior: smooth; -webkit-text-size-adjust: 100%; }
body {
  margin: 0 auto; padding: 2.2rem clamp(1rem, 3vw, 2.5rem) 4rem; max-width: 84rem;
  background: var(--ground); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif;
}
header { margin-bottom: 1.4rem; }
h1 { margin: 0; font-size: 1.9rem; line-height: 1.2; letter-spacing: -0.015em; }
h2 { margin: 2.8rem 0 0.7rem; padding-top: 1rem; border-top: 1px solid var(--line); font-size: 1.2rem; }
h3 { margin: 1.5rem 0 0.5rem; font-size: 1rem; }
p { max-width: 48rem; margin: 0.5rem 0; }
.faint, figcaption, caption { color: var(--faint); }
a { color: var(--accent); text-decoration: none; }
a:hover { text-decoration: underline; }
nav { display: flex; flex-wrap: wrap; gap: 0.2rem 1.1rem; margin-top: 0.7rem; font-size: 0.9rem; }
.facts { display: grid; grid-template-columns: repeat(auto-fit, minmax(10.6rem, 1fr)); gap: 0.7rem; margin: 1.4rem 0; padding: 0; }
.facts div { padding: 0.7rem 0.9rem; border-radius: 8px; background: var(--raised); }
.facts dt { color: var(--faint); font-size: 0.8rem; }
.facts dd { margin: 0.1rem 0 0; font-size: 1.2rem; font-weight: 600; white-space: nowrap; font-variant-numeric: tabular-nums; line-height: 1.25; }
.facts small { display: block; color: var(--faint); font-size: 0.78rem; font-weight: 400; }
.scroll { overflow-x: auto; margin: 0.6rem 0; }
table { border-collapse: collapse; font-size: 0.88rem; font-variant-numeric: tabular-nums; }
th, td { padding: 0.32rem 0.8rem; border-bottom: 1px solid var(--line); text-align: left; white-space: nowrap; }
th { color: var(--faint); font-size: 0.8rem; font-weight: 500; vertical-align: bottom; }
th:first-child, td:first-child { padding-left: 0; }
td.number, th.number { text-align: right; }
tr.strong td { font-weight: 600; }
td.bar { background: linear-gradient(90deg, var(--bar) var(--share), transparent var(--share)) no-repeat 0 50% / 100% 68%; min-width: 8rem; }
figure { margin: 0.8rem 0; }
figure .scroll { margin: 0; border-radius: 8px; }
figure img { display: block; width: 100%; min-width: 50rem; height: auto; border-radius: 8px; }
figure svg { display: block; width: 100%; min-width: min(34rem, var(--wide)); height: auto; }
figcaption { max-width: 60rem; margin-top: 0.4rem; font-size: 0.85rem; }
details summary { cursor: pointer; color: var(--accent); }
pre {
  overflow-x: auto; margin: 0.6rem 0; padding: 0.9rem 1.1rem; border-radius: 8px; background: var(--raised);
  font: 12.5px/1.5 ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace;
}
.pair { display: flex; flex-wrap: wrap; gap: 0 4rem; }
@media print { nav { display: none; } figure { break-inside: avoid; } }
"""
