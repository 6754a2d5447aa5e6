"""How the page looks: light and dark, on a desk, on a phone, and on paper. Pure."""

from __future__ import annotations

STYLE = """
:root {
  color-scheme: light dark;
  --paper: #fbfaf7; --sheet: #ffffff; --ink: #1d1c1a; --soft: #68645c; --line: #e3dfd6; --faint: #f3f0e9;
  --known: #2f5d8a; --unknown: #c98a2b; --lost: #b3372f; --new: #1f7a4d; --focus: #2f5d8a;
  --text: system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "Helvetica Neue", Arial, sans-serif;
  --code: ui-monospace, "SF Mono", "Cascadia Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #151618; --sheet: #1c1d20; --ink: #e7e5e0; --soft: #9c988f; --line: #303236; --faint: #24262a;
    --known: #7fb0df; --unknown: #dba655; --lost: #ea7d74; --new: #6fc497; --focus: #7fb0df;
  }
}
:lang(ja) {
  --text: system-ui, -apple-system, "Hiragino Sans", "Yu Gothic UI", "Noto Sans CJK JP", "Noto Sans JP", "IPAGothic",
    sans-serif;
}
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; text-size-adjust: 100%; }
body {
  margin: 0; background: var(--paper); color: var(--ink); font: 15px/1.5 var(--text);
  font-variant-numeric: tabular-nums lining-nums;
}
html[lang="en"] [lang="ja"], html[lang="ja"] [lang="en"] { display: none; }
main, header, footer { max-width: 1240px; margin: 0 auto; padding: 0 28px; }
header { padding-top: 34px; display: flex; flex-wrap: wrap; gap: 8px 24px; align-items: flex-start; }
header div { flex: 1 1 320px; }
h1 { margin: 0; font-size: 27px; line-height: 1.25; font-weight: 650; letter-spacing: -0.015em; }
:lang(ja) h1 { letter-spacing: 0; }
h2 { margin: 0; font-size: 17px; font-weight: 650; }
.span { margin: 4px 0 0; color: var(--soft); }
.span b { color: var(--ink); font-weight: 600; }
button, input { font: inherit; color: inherit; }
button { cursor: pointer; }
:focus-visible { outline: 2px solid var(--focus); outline-offset: 2px; border-radius: 3px; }
.language { border: 1px solid var(--line); background: var(--sheet); border-radius: 6px; padding: 4px 13px; }
.language:hover { border-color: var(--soft); }
.figures {
  display: grid; grid-template-columns: repeat(6, auto); margin: 26px 0 0; padding: 16px 0;
  border-top: 2px solid var(--ink); border-bottom: 1px solid var(--line);
}
.figures div { padding: 0 20px; border-left: 1px solid var(--line); }
.figures div:first-child { padding-left: 0; border-left: 0; }
.figures dt { color: var(--soft); font-size: 13px; line-height: 1.35; }
.figures dd { margin: 0; font-size: 25px; line-height: 1.3; font-weight: 600; letter-spacing: -0.01em; }
.figures .new { color: var(--new); }
.figures .lost { color: var(--lost); }
.remarks { margin: 18px 0 0; padding: 10px 16px; list-style: none; background: var(--faint); border-radius: 6px; }
.remarks li { overflow-wrap: anywhere; }
section { margin-top: 34px; }
.head { display: flex; flex-wrap: wrap; gap: 6px 18px; align-items: baseline; margin-bottom: 10px; }
.head h2 { flex: none; }
.head p { margin: 0; color: var(--soft); font-size: 13px; flex: 1 1 200px; }
.legend { display: flex; flex-wrap: wrap; gap: 2px 16px; color: var(--soft); font-size: 13px; }
.legend svg { width: 10px; height: 10px; margin-right: 6px; }
.fill-known { fill: var(--known); }
.fill-unknown { fill: var(--unknown); }
.fill-lost { fill: var(--lost); }
.chart { display: block; width: 100%; height: 196px; overflow: visible; }
.chart line { stroke: var(--line); stroke-width: 1; shape-rendering: crispEdges; }
.chart line.base { stroke: var(--soft); }
.chart text { fill: var(--soft); font: 12px var(--text); }
.chart g:hover rect { opacity: 0.65; }
.chart .scale { paint-order: stroke; stroke: var(--paper); stroke-width: 4px; stroke-linejoin: round; }
.chart .hit { fill: transparent; }
.countries {
  margin: 0; padding: 0; list-style: none; columns: 2; column-gap: 48px;
}
.countries li {
  display: grid; grid-template-columns: 30px minmax(80px, 150px) 1fr 76px 54px; gap: 0 10px; align-items: center;
  padding: 3px 0; break-inside: avoid;
}
.countries .code { font: 13px var(--code); color: var(--soft); }
.countries .country { white-space: nowrap; overflow: hidden; text-overflow: ellipsis; }
.countries b { font-weight: 600; text-align: right; }
.countries .share { color: var(--soft); text-align: right; font-size: 13px; }
.bar { display: block; width: 100%; height: 9px; }
.bar rect { fill: var(--known); }
.find { position: relative; flex: 1 1 220px; max-width: 420px; }
.find input {
  width: 100%; padding: 7px 12px; border: 1px solid var(--line); border-radius: 6px; background: var(--sheet);
}
.find input::placeholder { color: var(--soft); opacity: 1; }
table { width: 100%; border-collapse: collapse; background: var(--sheet); }
thead th {
  position: sticky; top: 0; z-index: 1; padding: 0; text-align: left; background: var(--sheet);
  box-shadow: inset 0 -1px var(--soft), inset 0 1px var(--line); font-weight: 600; font-size: 13px;
  vertical-align: bottom;
}
thead button {
  width: 100%; padding: 7px 10px; border: 0; background: none; text-align: inherit; font-weight: inherit;
  white-space: nowrap;
}
thead button:hover { background: var(--faint); }
thead button:focus-visible { outline-offset: -2px; }
thead button::after { content: "\\2195"; margin-left: 4px; color: var(--line); }
th[aria-sort="ascending"] button::after { content: "\\2191"; color: var(--known); }
th[aria-sort="descending"] button::after { content: "\\2193"; color: var(--known); }
td { padding: 7px 10px; border-bottom: 1px solid var(--line); vertical-align: top; overflow-wrap: anywhere; }
tbody tr:hover td { background: var(--faint); }
#programs td:nth-child(1) { min-width: 200px; }
#programs td:nth-child(2) { min-width: 158px; }
#programs td:nth-child(3) { min-width: 88px; }
#programs td:nth-child(4) { min-width: 190px; }
.n { text-align: right; }
td.n { white-space: nowrap; }
td small { display: block; color: var(--soft); font-size: 13px; line-height: 1.4; }
td time { white-space: nowrap; }
.address, .file { font: 13.5px/1.55 var(--code); }
.file b { font-weight: 600; }
.command { font: 12px/1.5 var(--code); }
.mark {
  display: inline-block; margin-left: 7px; padding: 0 7px; border-radius: 9px; font: 600 11px/17px var(--text);
  color: var(--sheet); background: var(--new); vertical-align: 1px; white-space: nowrap;
}
.mark.warn { background: var(--lost); }
.mark.dim { background: var(--soft); }
.none { padding: 22px 10px; color: var(--soft); }
.more { color: var(--soft); font-size: 13px; margin: 8px 0 0; }
.empty {
  margin-top: 30px; padding: 24px 28px; background: var(--sheet); border: 1px solid var(--line); border-radius: 8px;
}
.empty code { font: 13.5px var(--code); background: var(--faint); padding: 2px 6px; border-radius: 4px; }
.empty li { margin: 8px 0; }
footer { margin-top: 46px; padding-bottom: 40px; color: var(--soft); font-size: 13px; }
footer > p:first-child { border-top: 1px solid var(--line); padding-top: 14px; }
footer table { background: none; width: auto; max-width: 100%; }
footer td { padding: 1px 18px 1px 0; border: 0; }
footer tr:hover td { background: none; }
footer .sum { font: 12px var(--code); }
footer td.sum {
  max-width: 0; min-width: 60px; width: 60%; overflow: hidden; text-overflow: ellipsis; white-space: nowrap;
}
footer table { width: 100%; }

@media screen and (max-width: 1000px) {
  .figures { grid-template-columns: repeat(3, auto); row-gap: 14px; }
  .figures div:nth-child(3n + 1) { padding-left: 0; border-left: 0; }
  .countries { columns: 1; }
}
@media screen and (max-width: 760px) {
  main, header, footer { padding-left: 16px; padding-right: 16px; }
  header { padding-top: 22px; }
  h1 { font-size: 22px; }
  .figures { grid-template-columns: 1fr 1fr; row-gap: 12px; }
  .figures div, .figures div:nth-child(3n + 1) { padding: 0 0 0 14px; border-left: 1px solid var(--line); }
  .figures div:nth-child(2n + 1) { padding-left: 0; border-left: 0; }
  .figures dd { font-size: 22px; }
  .countries li { grid-template-columns: 26px minmax(70px, 110px) 1fr 62px 48px; gap: 0 8px; }
}
@media screen and (max-width: 1080px) {
  table.sortable, .sortable thead, .sortable tbody, .sortable tr, .sortable th, .sortable td { display: block; }
  table.sortable { background: none; }
  .sortable thead tr { display: flex; flex-wrap: wrap; gap: 6px; padding-bottom: 10px; }
  .sortable thead th { position: static; background: none; box-shadow: none; }
  .sortable thead button {
    padding: 3px 10px; border: 1px solid var(--line); border-radius: 14px; background: var(--sheet);
  }
  .sortable thead th[aria-sort="ascending"] button, .sortable thead th[aria-sort="descending"] button {
    border-color: var(--known);
  }
  .sortable tbody tr {
    padding: 9px 12px; background: var(--sheet); border: 1px solid var(--line); border-radius: 8px;
  }
  .sortable tbody {
    display: grid; grid-template-columns: repeat(auto-fill, minmax(min(310px, 100%), 1fr)); gap: 8px;
  }
  .sortable tbody tr[hidden] { display: none; }
  .sortable tbody tr:hover td { background: none; }
  .sortable td, #programs td { border: 0; padding: 2px 0; min-width: 0; }
  .sortable td.n { text-align: left; }
  .sortable td:not(.lead):not(.none) { display: grid; grid-template-columns: 92px minmax(0, 1fr); gap: 10px; }
  .sortable td:not(.lead):not(.none)::before { color: var(--soft); font-size: 13px; line-height: 1.7; }
  .sortable td:empty { display: none !important; }
  #destinations td:nth-child(2):not(.none)::before { content: "Country"; }
  :lang(ja) #destinations td:nth-child(2):not(.none)::before { content: "国"; }
  #destinations td:nth-child(3):not(.none)::before { content: "Port"; }
  :lang(ja) #destinations td:nth-child(3):not(.none)::before { content: "ポート"; }
  #destinations td:nth-child(4):not(.none)::before { content: "Sent by"; }
  :lang(ja) #destinations td:nth-child(4):not(.none)::before { content: "送信元"; }
  #destinations td:nth-child(5):not(.none)::before { content: "Count"; }
  :lang(ja) #destinations td:nth-child(5):not(.none)::before { content: "回数"; }
  #destinations td:nth-child(6):not(.none)::before { content: "First seen"; }
  :lang(ja) #destinations td:nth-child(6):not(.none)::before { content: "最初"; }
  #destinations td:nth-child(7):not(.none)::before { content: "Last seen"; }
  :lang(ja) #destinations td:nth-child(7):not(.none)::before { content: "最後"; }
  #visitors td:nth-child(2):not(.none)::before { content: "Country"; }
  :lang(ja) #visitors td:nth-child(2):not(.none)::before { content: "国"; }
  #visitors td:nth-child(3):not(.none)::before { content: "Port"; }
  :lang(ja) #visitors td:nth-child(3):not(.none)::before { content: "ポート"; }
  #visitors td:nth-child(4):not(.none)::before { content: "To"; }
  :lang(ja) #visitors td:nth-child(4):not(.none)::before { content: "相手"; }
  #visitors td:nth-child(5):not(.none)::before { content: "Count"; }
  :lang(ja) #visitors td:nth-child(5):not(.none)::before { content: "回数"; }
  #visitors td:nth-child(6):not(.none)::before { content: "First seen"; }
  :lang(ja) #visitors td:nth-child(6):not(.none)::before { content: "最初"; }
  #visitors td:nth-child(7):not(.none)::before { content: "Last seen"; }
  :lang(ja) #visitors td:nth-child(7):not(.none)::before { content: "最後"; }
  #programs td:nth-child(2):not(.none)::before { content: "Unit"; }
  :lang(ja) #programs td:nth-child(2):not(.none)::before { content: "ユニット"; }
  #programs td:nth-child(3):not(.none)::before { content: "User"; }
  :lang(ja) #programs td:nth-child(3):not(.none)::before { content: "ユーザー"; }
  #programs td:nth-child(4):not(.none)::before { content: "Went to"; }
  :lang(ja) #programs td:nth-child(4):not(.none)::before { content: "宛先"; }
  #programs td:nth-child(5):not(.none)::before { content: "Addresses"; }
  :lang(ja) #programs td:nth-child(5):not(.none)::before { content: "宛先数"; }
  #programs td:nth-child(6):not(.none)::before { content: "Count"; }
  :lang(ja) #programs td:nth-child(6):not(.none)::before { content: "回数"; }
  #programs td:nth-child(7):not(.none)::before { content: "First seen"; }
  :lang(ja) #programs td:nth-child(7):not(.none)::before { content: "最初"; }
  #programs td:nth-child(8):not(.none)::before { content: "Last seen"; }
  :lang(ja) #programs td:nth-child(8):not(.none)::before { content: "最後"; }
  footer td { display: block; padding: 0; }
  footer td.sum { max-width: none; width: auto; }
  footer tr { display: block; margin-bottom: 8px; }
  footer table, footer tbody { display: block; }
}
@media print {
  @page { size: A4; margin: 14mm 12mm; }
  :root {
    --paper: #fff; --sheet: #fff; --ink: #000; --soft: #555; --line: #ccc; --faint: #f4f4f4;
    --known: #2f5d8a; --unknown: #c98a2b; --lost: #b3372f; --new: #1f7a4d;
  }
  * { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
  body { font-size: 9.5pt; }
  main, header, footer { max-width: none; padding: 0; }
  header { padding-top: 0; }
  .language, .find, thead button::after { display: none !important; }
  h2 { break-after: avoid; }
  .head { break-after: avoid; }
  thead th { position: static; }
  thead button, td { padding: 3px 5px; }
  thead button { white-space: normal; overflow-wrap: anywhere; }
  table.sortable { font-size: 8pt; table-layout: fixed; }
  table.sortable small { font-size: 7.5pt; }
  thead th { font-size: 8pt; }
  td time { white-space: normal; }
  #programs td:nth-child(n) { min-width: 0; }
  #programs th:nth-child(1) { width: 22%; }
  #programs th:nth-child(2) { width: 15%; }
  #programs th:nth-child(3) { width: 10%; }
  #programs th:nth-child(4) { width: 16%; }
  th.n { width: 9.5%; }
  #destinations th.n, #visitors th.n { width: 10%; }
  .mark { font-size: 7pt; line-height: 10pt; }
  .countries { column-gap: 28px; }
  .countries li { grid-template-columns: 22px minmax(60px, 96px) 1fr 46px 40px; gap: 0 6px; padding: 1px 0; }
  .address, .file { font-size: 8pt; }
  table.sortable .command { font-size: 7pt; }
  tr, .figures, .chart { break-inside: avoid; }
  thead { display: table-header-group; }
  section { margin-top: 20px; }
  .figures { grid-template-columns: repeat(6, auto); }
  .figures div { padding: 0 0 0 12px; }
  .figures div:first-child { padding: 0; }
  .figures dd { font-size: 15pt; }
}
"""
