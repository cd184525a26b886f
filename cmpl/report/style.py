"""The page's one style sheet: dark text on light, readable on a phone; wide things scroll inside their own box."""

STYLE = """
:root { color-scheme: light; --ink: #1d2129; --soft: #555b66; --line: #d8dce3; --paper: #fff; --panel: #f5f7fa;
  --link: #00558a; --warn: #fff6e0; }
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 16px/1.5 system-ui, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
main { max-width: 1180px; margin: 0 auto; padding: 16px 20px 64px; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 12px 0 4px; overflow-wrap: anywhere; }
h2 { font-size: 1.35rem; margin: 48px 0 8px; padding-top: 16px; border-top: 2px solid var(--ink);
  overflow-wrap: anywhere; }
h3 { font-size: 1.08rem; margin: 32px 0 8px; }
p { margin: 8px 0; max-width: 74ch; overflow-wrap: anywhere; }
a { color: var(--link); }
.soft { color: var(--soft); }
nav ul { margin: 8px 0; padding-left: 20px; }
nav li { margin: 4px 0; overflow-wrap: anywhere; }
.box { overflow-x: auto; margin: 8px 0; -webkit-overflow-scrolling: touch; }
.box:focus-visible, a:focus-visible, summary:focus-visible { outline: 3px solid var(--link); outline-offset: 2px; }
table { border-collapse: collapse; font-size: 0.94rem; }
th, td { padding: 6px 14px 6px 0; text-align: left; vertical-align: top; border-bottom: 1px solid var(--line); }
th { font-weight: 600; }
thead th { border-bottom: 1.5px solid var(--ink); white-space: nowrap; }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
tbody td:first-child { min-width: 15ch; overflow-wrap: anywhere; }
.facts { width: 100%; max-width: 900px; }
.facts th { width: 11rem; padding-right: 16px; font-weight: 600; color: var(--soft); }
.facts td { overflow-wrap: anywhere; }
.missing { background: var(--warn); border-left: 4px solid #b07d00; padding: 8px 14px; margin: 16px 0; }
.missing ul { margin: 4px 0; padding-left: 20px; overflow-wrap: anywhere; }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 430px), 1fr)); gap: 8px 24px;
  align-items: start; }
figure { margin: 8px 0; }
figure img { display: block; width: 100%; max-width: 600px; height: auto; }
figure.wide img { width: auto; max-width: none; }
code { font: 0.92em ui-monospace, Menlo, Consolas, monospace; background: var(--panel); padding: 1px 4px; }
figcaption { font-size: 0.9rem; color: var(--soft); max-width: 74ch; overflow-wrap: anywhere; }
.strips { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 540px), 1fr)); gap: 20px 28px; }
.strip { min-width: 0; }
.strip img { display: block; width: 100%; min-width: 480px; height: auto; border-radius: 3px; }
.strip .box { margin: 0 0 4px; }
.strip p { margin: 2px 0; font-size: 0.94rem; }
.strip .path { color: var(--soft); font-size: 0.85rem; }
.none { background: var(--panel); color: var(--soft); padding: 20px 14px; border-radius: 3px; font-size: 0.9rem;
  overflow-wrap: anywhere; }
details { margin: 12px 0; }
summary { cursor: pointer; font-weight: 600; padding: 4px 0; }
pre { background: var(--panel); padding: 12px; overflow-x: auto; font-size: 0.85rem; line-height: 1.45; }
@media (max-width: 600px) {
  main { padding: 8px 14px 48px; }
  h1 { font-size: 1.4rem; }
  .facts, .facts tbody, .facts tr, .facts th, .facts td { display: block; width: auto; }
  .facts th { border: 0; padding: 8px 0 0; }
  .facts td { padding: 0 0 8px; }
}
@media print { .box { overflow: visible; } h2 { break-before: page; } }
"""
