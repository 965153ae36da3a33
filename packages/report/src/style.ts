/** How a report looks: one style for the page, the element and what embeds it. Colours are variables, for light and dark. */
export const REPORT_STYLE = `
.lowbit-report{--ink:#1a1d24;--soft:#565e6c;--line:#d8dce4;--paper:#fff;--tint:#f4f5f8;--accent:#3451c6;--area:#8ea2ee;--warn:#8a5300;--bad:#b3261e;--bad-tint:#fbe3e1;--free:#a6afc0;--used:#2e8f6b;
color:var(--ink);font:15px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif;overflow-wrap:anywhere}
@media (prefers-color-scheme:dark){.lowbit-report{--ink:#e8eaf0;--soft:#a6aebd;--line:#353b48;--paper:#14161b;--tint:#1d2129;--accent:#9db2ff;--area:#4a5fb8;--warn:#f2bd66;--bad:#ff8f85;--bad-tint:#3f2023;--free:#5a6375;--used:#5bc79b}}
.lowbit-report *{box-sizing:border-box}
.lowbit-report h1{font-size:1.6rem;line-height:1.2;margin:0 0 1rem;letter-spacing:-.01em}
.lowbit-report h2,.lowbit-report h3,.lowbit-report h4{font-size:1.05rem;line-height:1.3;margin:2rem 0 .35rem}
.lowbit-report p{margin:.25rem 0 .75rem;color:var(--soft);max-width:70ch}
.lowbit-report .cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(11rem,100%),1fr));gap:.75rem;margin:0;padding:0}
.lowbit-report .cards div{background:var(--tint);border-radius:10px;padding:.75rem 1rem}
.lowbit-report dt{color:var(--soft);font-size:.8rem}
.lowbit-report dd{margin:0;font-size:1.2rem;font-weight:600;font-variant-numeric:tabular-nums}
.lowbit-report dd small{display:block;font-size:.8rem;font-weight:400;color:var(--soft)}
.lowbit-report .warnings{border-left:3px solid var(--warn);background:var(--tint);border-radius:0 8px 8px 0;padding:.5rem 1rem;margin:1rem 0}
.lowbit-report .warnings ul{margin:.25rem 0;padding-left:1.1rem}
.lowbit-report .bars{list-style:none;margin:0;padding:0;display:grid;gap:.3rem}
.lowbit-report .bars li{display:grid;grid-template-columns:minmax(6rem,18rem) 1fr 4.5rem;gap:.75rem;align-items:center;font-size:.85rem}
.lowbit-report .bars svg{width:100%;height:.8rem;display:block}
.lowbit-report .bars .name{direction:ltr;line-height:1.25}
.lowbit-report .bars small{color:var(--soft)}
.lowbit-report .bars .value{text-align:right;font-variant-numeric:tabular-nums}
.lowbit-report .track{fill:var(--tint)}.lowbit-report .bar{fill:var(--accent)}
.lowbit-report .grid{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(20rem,100%),1fr));gap:1.25rem}
.lowbit-report figure{margin:0;display:grid;grid-template-rows:1fr auto auto}.lowbit-report figure details{margin:.25rem 0}.lowbit-report figcaption{font-size:.82rem;margin-bottom:.25rem}.lowbit-report figcaption small{display:block;color:var(--soft)}
.lowbit-report .distribution,.lowbit-report .treemap{width:100%;height:auto;display:block}
.lowbit-report .distribution text{fill:var(--soft);font:11px system-ui,sans-serif}
.lowbit-report .area{fill:var(--area);stroke:var(--accent)}.lowbit-report .axis{stroke:var(--soft)}
.lowbit-report .limit{stroke:var(--bad);stroke-width:1.5}.lowbit-report .clipped{fill:var(--bad-tint)}
.lowbit-report .treemap text{fill:#fff;font:12px system-ui,sans-serif}
.lowbit-report .tile rect{fill:#4a5fb8}.lowbit-report .tile.stays rect{fill:#6a7282}.lowbit-report .tile.stored rect{fill:#24795a}
.lowbit-report .legend{display:flex;flex-wrap:wrap;gap:.35rem 1.25rem;margin:.5rem 0;padding:0;list-style:none;font-size:.85rem;color:var(--soft)}
.lowbit-report .legend i{display:inline-block;width:.8rem;height:.8rem;border-radius:2px;margin-right:.4rem;vertical-align:-.05rem;background:#4a5fb8}
.lowbit-report .legend .stays i{background:#6a7282}.lowbit-report .legend .stored i{background:#24795a}
.lowbit-report details{margin:.75rem 0}.lowbit-report summary{cursor:pointer;color:var(--accent);font-size:.88rem;width:fit-content;padding:.15rem 0}
.lowbit-report .scroll{overflow-x:auto;max-height:32rem;overflow-y:auto;border:1px solid var(--line);border-radius:8px;margin:.5rem 0}
.lowbit-report table{border-collapse:collapse;width:100%;font-size:.82rem;overflow-wrap:normal}
.lowbit-report caption{text-align:left;color:var(--soft);padding:.5rem .6rem}
.lowbit-report td,.lowbit-report th{text-align:left;vertical-align:top;padding:.3rem .6rem;border-top:1px solid var(--line);font-weight:400}
.lowbit-report th[scope=row]{min-width:8rem;overflow-wrap:anywhere}
.lowbit-report thead th{font-weight:600;white-space:nowrap}
.lowbit-report .n{text-align:right;white-space:nowrap;font-variant-numeric:tabular-nums}
.lowbit-report pre{background:var(--tint);border-radius:8px;padding:1rem;overflow:auto;font-size:.8rem;max-height:28rem;margin:.5rem 0}
.lowbit-report :focus-visible{outline:2px solid var(--accent);outline-offset:2px}
@media (max-width:34rem){.lowbit-report .bars li{grid-template-columns:1fr 4.5rem}.lowbit-report .bars .name{grid-column:1/-1}}
`
