/** How pictures look, light and dark; they bring nothing of their own. */
export const PICTURE_STYLE = `
.map { font: 10px ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, monospace; }
.map text { fill: var(--ink, #1b1f24); }
.map .title { font: 12px system-ui, sans-serif; }
.map .ground { stroke: var(--line, #d0d7de); }
.map .name { text-anchor: middle; fill: #fff; }
.map .mark { outline: none; }
.map .tip { visibility: hidden; font-size: 12px; font-weight: 600; }
.map .mark:hover .tip, .map .mark:focus .tip { visibility: visible; }
.map .mark:hover rect, .map .mark:focus rect { stroke: var(--ink, #1b1f24); stroke-width: 2; }
.map .label text { paint-order: stroke; stroke: var(--ground, #fff); stroke-width: 3px; }
.map .label line { stroke: var(--line, #d0d7de); }
.map .label.differing text { fill: var(--bad, #cf222e); font-weight: 600; }
.map .label.differing line { stroke: var(--bad, #cf222e); }
.map .folds path { fill: none; stroke: var(--ground, #fff); stroke-width: 2; }
.map .predicted rect { fill-opacity: .4; }
.map .predicted .name { fill: var(--ink, #1b1f24); }
.map:focus-visible { outline: 2px solid var(--link, #0969da); }
.map .usable { fill: #2da44e; }
.map .reserved { fill: #8c959f; }
.map .acpi { fill: #bf8700; }
.map .persistent { fill: #8250df; }
.map .unusable { fill: #57606a; }
.map .parameter { fill: #bf3989; }
.map .hole { fill: #cf6a00; }
.map .cmr { fill: #57606a; }
.map .node, .map .region, .map .tdmr, .map .pamt { fill: #0969da; }
.map .n1 { fill: #1a7f37; }
.map .n2 { fill: #8250df; }
.map .n3 { fill: #9a6700; }
.map .n4 { fill: #bf3989; }
.map .n5 { fill: #0e7490; }
.map .n6 { fill: #a40e26; }
.map .n7 { fill: #57606a; }
.map rect.differs { fill: var(--bad, #cf222e); fill-opacity: .35 !important; stroke: var(--bad, #cf222e); stroke-width: 2; stroke-dasharray: 3 2; }
`
