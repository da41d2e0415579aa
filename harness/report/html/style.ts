import { PICTURE_STYLE } from '../picture/style.ts'

/** How reports and the page look: light, dark, narrow, on paper. */
export const STYLE = `
:root { color-scheme: light dark; --ground: #fff; --panel: #f6f8fa; --ink: #1b1f24; --dim: #57606a; --line: #d0d7de; --good: #1a7f37; --bad: #cf222e; --warn: #9a6700; --odd: #8250df; --link: #0969da; }
@media (prefers-color-scheme: dark) { :root { --ground: #0d1117; --panel: #161b22; --ink: #e6edf3; --dim: #9198a1; --line: #3d444d; --good: #3fb950; --bad: #ff7b72; --warn: #d29922; --odd: #bc8cff; --link: #58a6ff; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1rem; max-width: 76rem; background: var(--ground); color: var(--ink); font: 15px/1.45 system-ui, sans-serif; }
h1 { font-size: 1.5rem; margin: 0 0 .25rem; }
h2 { font-size: 1.15rem; margin: 1.75rem 0 .5rem; border-bottom: 1px solid var(--line); padding-bottom: .2rem; }
h3 { font-size: 1rem; margin: 1.1rem 0 .35rem; }
a { color: var(--link); }
main:focus { outline: none; }
:focus-visible { outline: 2px solid var(--link); outline-offset: 1px; }
code, pre, .mono { font: 13px/1.4 ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, monospace; overflow-wrap: anywhere; }
.dim { color: var(--dim); }
.pass { color: var(--good); } .fail { color: var(--bad); } .invalid { color: var(--warn); } .error { color: var(--odd); } .skip { color: var(--dim); }
.verdict { font-weight: 700; white-space: nowrap; }
.counts { display: flex; flex-wrap: wrap; gap: .5rem 1rem; margin: .75rem 0; padding: 0; list-style: none; font-size: 1.1rem; }
.bar { position: sticky; top: 0; display: flex; flex-wrap: wrap; gap: .5rem 1rem; align-items: center; padding: .5rem 0; background: var(--ground); border-bottom: 1px solid var(--line); z-index: 1; }
.bar input[type=search] { flex: 1 1 14rem; font: inherit; padding: .3rem .5rem; border: 1px solid var(--line); border-radius: 6px; background: var(--panel); color: inherit; }
button { font: inherit; padding: .2rem .6rem; border: 1px solid var(--line); border-radius: 6px; background: var(--panel); color: inherit; cursor: pointer; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; }
th, td { text-align: left; vertical-align: top; padding: .2rem .6rem .2rem 0; border-bottom: 1px solid var(--line); }
th { font-weight: 600; }
.grid td.cell { text-align: center; padding: 0; }
.grid td.cell a { display: block; padding: .2rem .6rem; text-decoration: none; font-weight: 700; color: inherit; }
.card { border: 1px solid var(--line); border-left: 4px solid var(--bad); border-radius: 6px; padding: .6rem .9rem; margin: .75rem 0; background: var(--panel); }
.card.invalid { border-left-color: var(--warn); } .card.error { border-left-color: var(--odd); }
.card.invalid, .card.error, .card.fail { color: var(--ink); }
.card h3 { margin: 0 0 .3rem; overflow-wrap: anywhere; }
.card ul { margin: .2rem 0; padding-left: 1.2rem; }
.suspect { font-weight: 600; }
.facts th { color: var(--dim); font-weight: 400; white-space: nowrap; }
.facts td, .facts th { border: 0; padding: .1rem 1rem .1rem 0; }
pre { background: var(--panel); border: 1px solid var(--line); border-radius: 6px; padding: .6rem; overflow-x: auto; white-space: pre-wrap; }
.console { max-height: 40rem; overflow: auto; white-space: pre; }
.console .n { display: inline-block; width: 3.6rem; color: var(--dim); user-select: none; }
.console .tdx { color: var(--link); }
.console .told, .console :target { background: color-mix(in srgb, var(--warn) 30%, transparent); }
.drop { border: 2px dashed var(--line); border-radius: 10px; padding: 1.2rem; text-align: center; margin: 1rem 0; }
.drop.over { border-color: var(--link); background: var(--panel); }
textarea { width: 100%; min-height: 7rem; font: 13px ui-monospace, monospace; background: var(--panel); color: inherit; border: 1px solid var(--line); border-radius: 6px; padding: .5rem; }
.legend ul { list-style: none; padding: 0; font: inherit; }
[hidden] { display: none !important; }
@media (max-width: 40rem) { body { padding: .6rem; font-size: 14px; } .console { max-height: 24rem; } th, td { padding-right: .35rem; } }
@media print { .bar, button, .noprint { display: none; } body { max-width: none; } .console { max-height: none; white-space: pre-wrap; } .card, svg { break-inside: avoid; } }
${PICTURE_STYLE}`
